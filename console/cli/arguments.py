"""Checks of options and arguments, before a command buys or writes anything."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from messages.errors import InvalidKey
from messages.keys import INPUT_EXTENSIONS, check_id
from messages.text import WrongEncoding, without_bom

__all__ = [
    "BadUsage",
    "check_choice",
    "check_folder",
    "check_kind",
    "check_photo",
    "check_url",
    "check_user",
    "photos_for_tasks",
    "read_event",
    "read_params",
    "reason",
]

_SAMPLE_PHOTO: Final = Path(__file__).parents[2] / "sandbox/photos/portrait.jpg"


class BadUsage(ValueError):
    """An option or argument that cannot be used; the message names it and the remedy."""


def reason(error: OSError) -> str:
    """Return the system's error text without the path; the caller adds the path as the user gave it."""
    return error.strerror or type(error).__name__


def check_photo(path: Path) -> Path:
    """Return the photo if it can be submitted.

    Raises:
        BadUsage: the file cannot be read, or its extension is not one of an input's.
    """
    if path.is_dir():
        raise BadUsage(f"{path} is a folder: name the photos in it")
    if not path.is_file():
        raise BadUsage(f"{path}: no such file")
    if path.suffix.lstrip(".").lower() not in INPUT_EXTENSIONS:
        raise BadUsage(f"{path}: the extension must be one of {', '.join(sorted(INPUT_EXTENSIONS))}")
    if not os.access(path, os.R_OK):
        raise BadUsage(f"{path} cannot be read: permission denied")
    return path


def photos_for_tasks(photos: Sequence[Path], tasks: int) -> tuple[Path, ...]:
    """Return a photo for each task, cycling through the given ones, or through the bundled sample.

    Args:
        photos: the given photos.
        tasks: number of tasks; 0 for one per photo.

    Raises:
        BadUsage: a photo that cannot be submitted.
    """
    given = [check_photo(photo) for photo in photos or [_SAMPLE_PHOTO]]
    return tuple(given[n % len(given)] for n in range(tasks or len(given)))


def check_choice(option: str, value: str, choices: Sequence[str]) -> Any:  # noqa: ANN401 - a literal once it is checked
    """Return the value if it is one of the choices.

    Raises:
        BadUsage: it is not.
    """
    if value not in choices:
        raise BadUsage(f"{option} must be one of {', '.join(choices)}, not {value!r}")
    return value


def check_kind(name: str) -> Any:  # noqa: ANN401 - a literal once it is checked
    """Return the kind if a recipe for it exists.

    Raises:
        BadUsage: there is no such kind.
    """
    from recipes.table import RECIPES

    return check_choice("--kind", name, sorted(RECIPES))


def check_user(user: str) -> str:
    """Return the user's id if it is valid.

    Raises:
        BadUsage: it is not valid.
    """
    try:
        return check_id(user, "--user")
    except InvalidKey as error:
        raise BadUsage(str(error)) from error


def check_url(option: str, url: str) -> str:
    """Return the URL if it is empty or an HTTP URL.

    Raises:
        BadUsage: it is neither.
    """
    try:
        parts = urlsplit(url)
        usable = not url or (parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        usable = False
    if not usable:
        raise BadUsage(f"{option} must be a URL such as http://127.0.0.1:9000/event-invoke, not {url!r}")
    return url


def check_folder(option: str, folder: Path) -> Path:
    """Return the folder, created if need be, if files can be written to it.

    Raises:
        BadUsage: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except FileExistsError as error:
        raise BadUsage(f"{option} {folder} is a file: name a folder") from error
    except OSError as error:
        raise BadUsage(f"{option} {folder} cannot be written: {reason(error)}; name another folder") from error
    return folder


def read_params(text: str, kind: str) -> dict[str, Any]:
    """Parse and validate the parameters of a kind.

    Args:
        text: JSON from the command line.
        kind: a known kind.

    Raises:
        BadUsage: the text is no JSON object, or the kind does not accept the parameters.
    """
    from recipes.recipe import BadParameters, parse_params
    from recipes.table import RECIPES

    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadUsage(f"--params is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadUsage('--params must be a JSON object, such as \'{"format": "png"}\'')
    try:
        parse_params(RECIPES[kind], value)
    except BadParameters as error:
        raise BadUsage(f"--params: {error}") from error
    return value


def read_event(name: str) -> Any:  # noqa: ANN401 - any event of the platform
    """Read an event from a JSON file; `-` is standard input.

    Raises:
        BadUsage: it cannot be read, or is no JSON.
    """
    try:
        text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return msgspec.json.decode(without_bom(text))
    except WrongEncoding as error:
        raise BadUsage(f"--event {name} cannot be read: {error}") from error
    except OSError as error:
        raise BadUsage(f"--event {name} cannot be read: {reason(error)}") from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadUsage(f"--event {name} is no JSON: {error}") from error
