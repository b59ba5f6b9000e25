"""The environment of a command: the process's own, or the file that `scf-workers sandbox` leaves."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from runtime.errors import BadSettings

__all__ = ["ENV_FILE", "env_lines", "read_env_file", "use_environment"]

ENV_FILE: Final = Path(".sandbox/env")
"""Where the sandbox writes its environment unless told otherwise, and where the other commands look for it."""


def env_lines(environ: Mapping[str, str]) -> str:
    """`NAME=value` lines that a shell can read too."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in environ.items())


def read_env_file(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; quotes as in a shell, `#` begins a comment.

    Raises:
        runtime.errors.BadSettings: the file cannot be read, or a line is no assignment; the text names it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise BadSettings(f"the environment file {path} cannot be read: {type(error).__name__}") from error
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
    """Bring the variables of a file into this process's environment; what is set there already wins.

    Args:
        path: the file; None looks for the sandbox's own, and only when no BROKER_URL is set.

    Returns:
        The file that was used, if any.

    Raises:
        runtime.errors.BadSettings: the file cannot be used.
    """
    if path is None:
        if os.environ.get("BROKER_URL") or not ENV_FILE.exists():
            return None
        path = ENV_FILE
    for name, value in read_env_file(path).items():
        os.environ.setdefault(name, value)
    return path
