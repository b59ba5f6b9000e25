"""Environment of a command: of the process, or from the file that `scf-workers sandbox` writes."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from console.cli.arguments import reason
from console.cli.terminal import warn
from messages.text import WrongEncoding, without_bom
from runtime.errors import BadSettings
from runtime.settings import SECRETS, is_product_variable, mask_secrets

__all__ = [
    "ENV_FILE",
    "OF_THE_PROCESS",
    "EnvFile",
    "enter_environment",
    "env_lines",
    "read_env_file",
    "use_environment",
]

ENV_FILE: Final = Path(".sandbox/env")
"""Default path to which the sandbox writes its environment, and from which other commands read it."""

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", help=f"File with the environment (default: {ENV_FILE} unless BROKER_URL differs)."),
]
"""Option of every command that needs an environment."""

OF_THE_PROCESS: Final = frozenset({"HEALTH_FILE", "LOG_FORMAT", "LOG_LEVEL"})
"""Variables of one process, not of a deployment; they are kept beside those of a file."""


def env_lines(environ: Mapping[str, str]) -> str:
    """Return `NAME=value` lines that a shell can read too."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in environ.items())


def read_env_file(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; quotes as in a shell, `#` begins a comment.

    Raises:
        runtime.errors.BadSettings: the file cannot be read, or a line is no assignment; the message names it.
    """
    try:
        return _assignments(path, path.read_bytes())
    except OSError as error:
        raise BadSettings(f"the environment file {path} cannot be read: {reason(error)}") from error


def _assignments(path: Path, raw: bytes) -> dict[str, str]:
    try:
        lines = without_bom(raw).decode().splitlines()
    except WrongEncoding as error:
        raise BadSettings(f"the environment file {path} cannot be read: {error}") from error
    except UnicodeError as error:
        raise BadSettings(f"the environment file {path} cannot be read: it is no UTF-8") from error
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        for word in _words(line, f"{path}, line {number}"):
            name, equals, value = word.partition("=")
            if not equals or not name.isidentifier():
                raise BadSettings(f"{path}, line {number}: expected NAME=value")
            values[name] = value
    return values


def _words(line: str, where: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        # The texts are "No closing quotation" and "No escaped character".
        raise BadSettings(
            f"{where}: {str(error).lower()}; a value with quotes or spaces is quoted as in a shell"
        ) from error


def use_environment(path: Path | None) -> Path | None:
    """Load the variables of a file into this process's environment. Two sources are never mixed.

    If a file is used, variables of the product from the process's own environment are removed; otherwise a file could
    have a deployment's keys sent to hosts of its choice. Only `OF_THE_PROCESS`, which name neither hosts nor keys,
    stay.

    Args:
        path: the file; None uses the sandbox's file, if it exists and BROKER_URL is not set, or is the sandbox's and
            only the broker is configured, as after `export $(scf-workers broker start)`. From that file only the
            product's variables are loaded, and none that names another file with a secret.

    Returns:
        The file that was used, if any.

    Raises:
        runtime.errors.BadSettings: the file cannot be used; or it was found by default, and other users may have read
            or written it.
    """
    if path is None:
        if not ENV_FILE.exists() or ((given := os.environ.get("BROKER_URL")) and not _names_the_broker_alone()):
            return None
        path, values = ENV_FILE, _found_file(ENV_FILE)
        if given and values.get("BROKER_URL") != given:
            warn(f"BROKER_URL names another broker than {ENV_FILE}, so that file is not used")
            return None
    else:
        values = read_env_file(path)
    for name in list(os.environ):
        if is_product_variable(name) and name not in OF_THE_PROCESS:
            del os.environ[name]
    for name, value in values.items():
        if name in OF_THE_PROCESS:
            os.environ.setdefault(name, value)
        elif is_product_variable(name):
            os.environ[name] = value
        elif path is not ENV_FILE:
            os.environ.setdefault(name, value)
    return path


def enter_environment(path: Path | None) -> None:
    """Load the environment of a command, say which file was used, and hide the secrets in it from crash reports.

    Raises:
        runtime.errors.BadSettings: see `use_environment`.
    """
    used = use_environment(path)
    mask_secrets(os.environ)
    if used is not None:
        warn(f"using the environment in {used}")


def _names_the_broker_alone() -> bool:
    """Return True if this process's environment configures the broker and nothing else of the product."""
    names = {name for name in os.environ if is_product_variable(name)} - OF_THE_PROCESS
    return all(name.startswith("BROKER_") for name in names)


def _found_file(path: Path) -> dict[str, str]:
    """Read a file that was found in the current folder, not named by the user, so it is checked first."""
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            values = _assignments(path, file.read())
    except OSError as error:
        raise BadSettings(f"the environment file {path} cannot be read: {reason(error)}") from error
    if named := [name for name in values if name.removesuffix("_FILE") in SECRETS and name not in SECRETS]:
        raise BadSettings(f"{path} names a file in {named[0]}: allowed only if --env-file names {path}")
    return values


def _check_owner(path: Path, status: os.stat_result) -> None:
    remedy = f"to use it, name it with --env-file {path}"
    if not stat.S_ISREG(status.st_mode):
        raise BadSettings(f"{path} is no file: {remedy}")
    if status.st_uid != os.geteuid():
        raise BadSettings(f"{path} belongs to another user, so it is not used: {remedy}")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadSettings(
            f"{path} is open to other users, so it is not used: chmod 600 {path} if it is yours; {remedy}"
        )
