"""Checks of options and arguments, before a command buys or writes anything."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from messages.errors import InvalidKey
from messages.keys import INPUT_EXTENSIONS, VIDEO_EXTENSIONS, check_id
from messages.text import WrongEncoding, without_bom

if TYPE_CHECKING:
    from recipes.recipe import Recipe

__all__ = [
    "SAMPLE_PHOTO",
    "BadUsage",
    "check_choice",
    "check_folder",
    "check_kind",
    "check_photo",
    "check_since",
    "check_url",
    "check_user",
    "check_vendor",
    "inputs_for_each",
    "inputs_for_tasks",
    "inputs_of_task",
    "read_event",
    "read_params",
    "reason",
]

_PHOTOS: Final = Path(__file__).parents[2] / "sandbox/photos"
SAMPLE_PHOTO: Final = _PHOTOS / "portrait.jpg"
"""Photo of a command that names none."""
_SAMPLES: Final = {"garment": _PHOTOS / "garment.png"}
"""Name of an input in recipes -> its sample; the portrait for every other."""

_AGE: Final = re.compile(r"(\d{1,6})([mhd])")
_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": 86400.0}


class BadUsage(ValueError):
    """An option or argument that cannot be used; the message names it and the remedy."""


def reason(error: OSError) -> str:
    """Return the system's error text without the path; the caller adds the path as the user gave it."""
    return error.strerror or "an error without a text"


def check_photo(path: Path, *, videos: bool = False) -> Path:
    """Return the photo if it can be submitted.

    Args:
        path: the file.
        videos: whether it may be a video.

    Raises:
        BadUsage: the file cannot be read, or its extension is not one of an input's.
    """
    if path.is_dir():
        raise BadUsage(f"{path} is a folder: name the photos in it")
    if not path.is_file():
        raise BadUsage(f"{path}: no such file")
    extensions = (*INPUT_EXTENSIONS, *VIDEO_EXTENSIONS) if videos else INPUT_EXTENSIONS
    if path.suffix.lstrip(".").lower() not in extensions:
        raise BadUsage(f"{path}: the extension must be one of {', '.join(sorted(extensions))}")
    if not os.access(path, os.R_OK):
        raise BadUsage(f"{path} cannot be read: permission denied")
    return path


def inputs_for_tasks(photos: Sequence[Path], tasks: int, kind: str) -> tuple[tuple[Path, ...], ...]:
    """Return the inputs of each task.

    A kind that combines several inputs gets every photo in each task; another kind gets one photo for each task, in
    turn.

    Args:
        photos: the given photos; none for the bundled samples.
        tasks: number of tasks; 0 for one, or for one per photo if each task has one photo.
        kind: a known kind.

    Raises:
        BadUsage: a photo that cannot be submitted, or more or fewer photos than the kind takes.
    """
    recipe = _recipe(kind)
    if not photos:
        count = min(recipe.most_inputs, max(1, recipe.least_inputs))
        photos = [_SAMPLES.get(name, SAMPLE_PHOTO) for name in (*recipe.inputs, *("",) * count)[:count]]
    if _combines(recipe):
        return (inputs_of_task(photos, kind),) * (tasks or 1)
    given = [check_photo(photo) for photo in photos]
    return tuple((given[n % len(given)],) for n in range(tasks or len(given)))


def inputs_for_each(photos: Sequence[Path], kind: str) -> tuple[tuple[Path, ...], ...]:
    """Return the inputs of each task for given photos: of one task, or of one for each photo if the kind takes one.

    Raises:
        BadUsage: a photo that cannot be submitted, or more or fewer photos than the kind takes.
    """
    if len(photos) > 1 and not _combines(_recipe(kind)):
        return inputs_for_tasks(photos, 0, kind)
    return (inputs_of_task(photos, kind),)


def inputs_of_task(photos: Sequence[Path], kind: str) -> tuple[Path, ...]:
    """Return the inputs of one task.

    Args:
        photos: the given photos.
        kind: a known kind.

    Raises:
        BadUsage: a photo that cannot be submitted, or more or fewer photos than the kind takes.
    """
    recipe = _recipe(kind)
    if not recipe.least_inputs <= len(photos) <= recipe.most_inputs:
        least, most = recipe.least_inputs, recipe.most_inputs
        takes = f"{least} to {most} photos" if least < most else "1 photo" if most == 1 else f"{most or 'no'} photos"
        raise BadUsage(f"--kind {kind} takes {takes}, and was given {len(photos)}")
    return tuple(check_photo(photo, videos=recipe.takes_video(n)) for n, photo in enumerate(photos))


def _recipe(kind: str) -> Recipe:
    from recipes.table import RECIPES

    return RECIPES[kind]


def _combines(recipe: Recipe) -> bool:
    """Return True if a task's results come from all of its inputs together, or from none."""
    return recipe.most_inputs != 1 and bool(recipe.vendor or recipe.prompt)


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


def check_vendor(name: str, kind: str) -> str:
    """Return the vendor if a setting can choose it for a kind; empty for none.

    Raises:
        BadUsage: it cannot.
    """
    recipe = _recipe(kind)
    if not name:
        return ""
    if not recipe.others:
        raise BadUsage(f"--vendor: {kind} has one vendor, or none")
    found: str = check_choice("--vendor", name, [form.vendor for form in recipe.forms])
    return found


def check_user(user: str, option: str = "--user") -> str:
    """Return the user's id if it is valid.

    Args:
        user: the id.
        option: option or argument that gives it.

    Raises:
        BadUsage: it is not valid.
    """
    try:
        return check_id(user, option)
    except InvalidKey as error:
        raise BadUsage(str(error)) from error


def check_since(option: str, text: str) -> float:
    """Return the time that an option names, in seconds since the epoch; 0 for an empty text.

    Raises:
        BadUsage: it is neither an age nor a time.
    """
    if not text:
        return 0.0
    if age := _AGE.fullmatch(text):
        return max(0.0, time.time() - int(age[1]) * _UNITS[age[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadUsage(f"{option} must be such as 30m, 12h, 7d or 2026-01-31T08:00, not {text!r}") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


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


def read_params(
    text: str, kind: str, single: Sequence[str] = (), base: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Parse and validate the parameters of a kind.

    Args:
        text: JSON from the command line.
        kind: a known kind.
        single: further parameters of the form NAME=VALUE; see `_set_single`.
        base: parameters where the command line gives none of that name.

    Raises:
        BadUsage: the text is no JSON object, or the kind does not accept the parameters.
        runtime.errors.BadSettings: the file that `SCENES_FILE` of the environment names cannot be used.
    """
    from recipes.recipe import BadParameters, parse_params
    from runtime.wiring import open_recipes

    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadUsage(f"--params is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadUsage('--params must be a JSON object, such as \'{"format": "png"}\'')
    values: dict[str, Any] = {**(base or {}), **value}
    for one in single:
        _set_single(values, one)
    try:
        parse_params(open_recipes(os.environ.get("SCENES_FILE", ""))[kind], values)
    except BadParameters as error:
        raise BadUsage(f"{'--param' if single else '--params'}: {error}") from error
    return values


def _set_single(values: dict[str, Any], text: str) -> None:
    """Set a parameter: dots in its name lead into objects, and its value is JSON if it can be read as that, else text.

    Raises:
        BadUsage: no name, or a part of the name is no object.
    """
    name, equals, value = text.partition("=")
    *outer, last = name.split(".")
    if not equals or not all((*outer, last)):
        raise BadUsage(f"--param must be NAME=VALUE, such as options.n=2, not {text!r}")
    target = values
    for part in outer:
        inner = target.get(part, {})
        if not isinstance(inner, dict):
            raise BadUsage(f"--param {name}: {part} is no object")
        # A copy: the given object may be a recipe's example.
        target[part] = dict(inner)
        target = target[part]
    try:
        target[last] = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        target[last] = value


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
