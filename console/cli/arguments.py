"""What a person may have typed wrong: options and arguments are checked before anything is done, bought or written."""

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
    "photos_in_turn",
    "read_event",
    "read_params",
    "reason",
]

_OWN_PHOTO: Final = Path(__file__).parents[2] / "sandbox/photos/portrait.jpg"


class BadUsage(ValueError):
    """An option or argument that cannot be used; the text names it and the remedy."""


def reason(error: OSError) -> str:
    """Why the system refused, in its own words, without the path: that is said as it was given."""
    return error.strerror or type(error).__name__


def check_photo(path: Path) -> Path:
    """The file, if it can be submitted under its name.

    Raises:
        BadUsage: it is none that can be read, or its extension is none of an input's.
    """
    if path.is_dir():
        raise BadUsage(f"{path} is a folder: name the photos in it")
    if not path.is_file():
        raise BadUsage(f"{path}: no such file")
    if path.suffix.lstrip(".").lower() not in INPUT_EXTENSIONS:
        raise BadUsage(f"{path}: the extension must be one of {', '.join(sorted(INPUT_EXTENSIONS))}")
    if not os.access(path, os.R_OK):
        raise BadUsage(f"{path} cannot be read: its permissions do not let this user")
    return path


def photos_in_turn(photos: Sequence[Path], tasks: int) -> tuple[Path, ...]:
    """A photo for each task: those given, or the one that comes along, over and over.

    Args:
        photos: what was given.
        tasks: how many tasks; 0: one a photo.

    Raises:
        BadUsage: a photo that cannot be submitted.
    """
    given = [check_photo(photo) for photo in photos or [_OWN_PHOTO]]
    return tuple(given[n % len(given)] for n in range(tasks or len(given)))


def check_choice(option: str, value: str, choices: Sequence[str]) -> Any:  # noqa: ANN401 - a literal once it is checked
    """The value, if it is one of the choices.

    Raises:
        BadUsage: it is none.
    """
    if value not in choices:
        raise BadUsage(f"{option} must be one of {', '.join(choices)}, not {value!r}")
    return value


def check_kind(name: str) -> Any:  # noqa: ANN401 - a literal once it is checked
    """The kind, if there is such a recipe.

    Raises:
        BadUsage: there is none.
    """
    from recipes.table import RECIPES

    return check_choice("--kind", name, sorted(RECIPES))


def check_user(user: str) -> str:
    """The user's id, if it can be one.

    Raises:
        BadUsage: it cannot.
    """
    try:
        return check_id(user, "--user")
    except InvalidKey as error:
        raise BadUsage(str(error)) from error


def check_url(option: str, url: str) -> str:
    """The URL, if it is empty or can be posted to.

    Raises:
        BadUsage: it cannot.
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
    """The folder, made if it was not there, if files can be written to it.

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
    """Parameters of a kind: a backend sells no others.

    Args:
        text: what was given.
        kind: a kind that there is.

    Raises:
        BadUsage: the text is no JSON object, or the kind does not take such parameters.
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


def read_event(name: str) -> Any:  # noqa: ANN401 - whatever the platform would hand over
    """An event in a file; `-` is standard input.

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
