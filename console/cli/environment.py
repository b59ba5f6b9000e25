"""The environment of a command: the process's own, or the file that `scf-workers sandbox` leaves."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from messages.text import WrongEncoding, without_bom
from runtime.errors import BadSettings
from runtime.settings import SECRETS, is_product_variable

__all__ = ["ENV_FILE", "OF_THE_PROCESS", "env_lines", "read_env_file", "use_environment"]

ENV_FILE: Final = Path(".sandbox/env")
"""Where the sandbox writes its environment unless told otherwise, and where the other commands look for it."""

OF_THE_PROCESS: Final = frozenset({"HEALTH_FILE", "LOG_LEVEL"})
"""Variables that belong to one process, not to a deployment, and stay beside those of a file."""


def env_lines(environ: Mapping[str, str]) -> str:
    """`NAME=value` lines that a shell can read too."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in environ.items())


def read_env_file(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; quotes as in a shell, `#` begins a comment.

    Raises:
        runtime.errors.BadSettings: the file cannot be read, or a line is no assignment; the text names it.
    """
    try:
        return _assignments(path, path.read_bytes())
    except OSError as error:
        raise BadSettings(f"the environment file {path} cannot be read: {type(error).__name__}") from error


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
        # Its words: "No closing quotation", "No escaped character".
        raise BadSettings(
            f"{where}: {str(error).lower()}; a value with quotes or spaces is quoted as in a shell"
        ) from error


def use_environment(path: Path | None) -> Path | None:
    """Bring the variables of a file into this process's environment. Two sources are never mixed.

    Where a file is used, it alone says what the product works with: variables of the product that the process was
    started with are dropped, so that no file can have a deployment's keys sent to hosts of its own choice. Only what
    names neither host nor key stays: `OF_THE_PROCESS`.

    Args:
        path: the file; None looks for the sandbox's own, and only when no BROKER_URL is set. Of that one only the
            product's variables are taken, and none that names a further file with a secret.

    Returns:
        The file that was used, if any.

    Raises:
        runtime.errors.BadSettings: the file cannot be used; or it was found, not named, and others may have written or
            read it.
    """
    if path is None:
        if os.environ.get("BROKER_URL") or not ENV_FILE.exists():
            return None
        path, values = ENV_FILE, _found_file(ENV_FILE)
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


def _found_file(path: Path) -> dict[str, str]:
    """Read a file that nobody named: it lies in the folder where the command happens to be run."""
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            values = _assignments(path, file.read())
    except OSError as error:
        raise BadSettings(f"the environment file {path} cannot be read: {type(error).__name__}") from error
    if named := [name for name in values if name.removesuffix("_FILE") in SECRETS and name not in SECRETS]:
        raise BadSettings(f"{path} names a file in {named[0]}: such a file is used only where --env-file names {path}")
    return values


def _check_owner(path: Path, status: os.stat_result) -> None:
    remedy = f"if it is meant, name it with --env-file {path}"
    if not stat.S_ISREG(status.st_mode):
        raise BadSettings(f"{path} is no file: {remedy}")
    if status.st_uid != os.geteuid():
        raise BadSettings(f"{path} belongs to another user, and is not used: {remedy}")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadSettings(f"{path} is open to other users, and is not used: chmod 600 {path} if it is yours; {remedy}")
