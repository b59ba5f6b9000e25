"""The inputs of a task: each must be there, not empty and not too large; its ETag is kept.

The picture service judges pictures later. It reads no videos, so the first bytes of a video are looked at here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messages.codes import Code
from messages.errors import Rejected
from messages.keys import (
    INPUT_EXTENSIONS,
    INPUT_PREFIX,
    OUTPUT_PREFIX,
    PICTURE_STEM,
    SOURCE_PREFIX,
    VIDEO_EXTENSIONS,
    InputKey,
    RunId,
    parse_input_key,
)
from services.errors import Changed, NotFound
from services.media.types import type_of
from services.objects.port import ObjectInfo, Objects
from tasks.accepting.request import TASK_FILE, TaskRequest
from tasks.ledger.records import InputRef

if TYPE_CHECKING:
    from recipes.recipe import Recipe

__all__ = [
    "MAX_PICTURE_BYTES",
    "VIDEO_TYPES",
    "find_inputs",
    "find_upload",
    "head_upload",
    "is_own_key",
    "is_stored",
    "is_video",
    "source_key",
    "unsupported_format",
]

MAX_PICTURE_BYTES: Final = 32 << 20
"""The picture service takes 32 MB (data sheet of Cloud Infinite's basic processing, limits)."""

VIDEO_TYPES: Final = frozenset({"video/mp4", "video/quicktime"})
"""Media types of videos that are accepted, by their first bytes."""

_OWN_FOLDERS: Final = frozenset({INPUT_PREFIX, OUTPUT_PREFIX, SOURCE_PREFIX})

_FORMATS: Final = {
    "heic": Code.FORMAT_HEIC,
    "heif": Code.FORMAT_HEIC,
    "hif": Code.FORMAT_HEIC,
    "avif": Code.FORMAT_AVIF,
    "tif": Code.FORMAT_TIFF,
    "tiff": Code.FORMAT_TIFF,
    "gif": Code.FORMAT_GIF,
}
"""Extension -> code, of formats that are not taken. The picture service reads JPG, BMP, GIF, PNG and WebP, and decodes
HEIF (Cloud Infinite, limits of scaling, 436/42704); but the audit reads no HEIF, no cut-out is documented for it, and a
GIF may hold many pictures."""


async def head_upload(key: str, objects: Objects) -> ObjectInfo:
    """Look at an upload.

    Raises:
        messages.errors.Rejected: it is not there.
    """
    try:
        return await objects.head(key)
    except NotFound as error:
        raise Rejected(f"the upload {key} is gone", code=Code.NOT_UPLOADED) from error


def source_key(run: RunId) -> InputKey:
    """Return the key of the `task.json` that the API writes for a step that it has sold."""
    return InputKey(run.user, run.task, TASK_FILE, SOURCE_PREFIX, run.step)


async def find_upload(user: str, task: str, objects: Objects, step: int = 0) -> InputKey | None:
    """Return the upload of a step without `accepted`, if it is there.

    `task.json` is preferred to a single picture, and a client's upload to the API's file.
    """
    source = source_key(RunId(user, task, step))
    if step:
        return source if await is_stored(source, objects) else None
    upload = InputKey(user, task, TASK_FILE)
    if await is_stored(upload, objects):
        return upload
    page = await objects.list(upload.folder + PICTURE_STEM)
    found = [key for item in page.items if (key := parse_input_key(item.key))]
    if found:
        return min(found, key=lambda key: (unsupported_format(key.name) is not None, key.name))
    return source if await is_stored(source, objects) else None


async def is_stored(key: InputKey, objects: Objects) -> bool:
    """Return True if there is an upload with this key."""
    try:
        await objects.head(key.folder + key.name)
    except NotFound:
        return False
    return True


def is_own_key(user: str, key: str) -> bool:
    """Return True if a key may name an input of a user's task: an upload, a fetched input or a result of theirs."""
    parts = key.split("/")
    if not {".", ".."}.isdisjoint(parts):
        return False
    return len(parts) > 3 and f"{parts[0]}/" in _OWN_FOLDERS and parts[1] == user and all(parts)  # noqa: PLR2004


async def find_inputs(
    request: TaskRequest, info: ObjectInfo, upload: InputKey, recipe: Recipe, objects: Objects
) -> tuple[InputRef, ...]:
    """Find the inputs that a task file names, or the picture itself.

    Args:
        request: the order.
        info: the upload.
        upload: its key.
        recipe: of the task; it says which input may be a video.
        objects: the bucket.

    Raises:
        messages.errors.Rejected: an input is missing, empty, too large, or neither a picture nor a video that the
            recipe takes.
    """
    if upload.name != TASK_FILE:
        return (await _input(info, 0, recipe, objects),)
    if upload.root == SOURCE_PREFIX:
        named = [await _named(name, n, upload.user, recipe, objects) for n, name in enumerate(request.inputs)]
        return tuple(named)
    keys = [upload.folder + _file_name(name) for name in request.inputs]
    return tuple([await _input(await head_upload(key, objects), n, recipe, objects) for n, key in enumerate(keys)])


async def _named(name: str, position: int, user: str, recipe: Recipe, objects: Objects) -> InputRef:
    """Return an input that the API has checked: a URL, or the key of an object of the user's."""
    if name.startswith(("https://", "http://")):
        return InputRef("", "", 0, name)
    if not is_own_key(user, name):
        raise Rejected(f"input {name[:80]!r} is no object of this user", code=Code.BAD_PARAMETERS)
    return await _input(await head_upload(name, objects), position, recipe, objects)


def _file_name(name: str) -> str:
    stem, _, extension = name.rpartition(".")
    if not stem or "/" in name or extension.lower() not in {*INPUT_EXTENSIONS, *VIDEO_EXTENSIONS, *_FORMATS}:
        raise Rejected(f"input {name[:80]!r} is no picture beside task.json", code=Code.BAD_PARAMETERS)
    return name


def is_video(name: str) -> bool:
    """Return True if a name's extension is that of a video."""
    return name.rpartition(".")[2].lower() in VIDEO_EXTENSIONS


def unsupported_format(name: str, *, videos: bool = False) -> Code | None:
    """Return the code of a format that is not taken, by a name's extension; None for one that is.

    Args:
        name: a file's name, or a key.
        videos: whether a video is taken too.
    """
    extension = name.rpartition(".")[2].lower()
    taken = extension in INPUT_EXTENSIONS or (videos and extension in VIDEO_EXTENSIONS)
    return None if taken else _FORMATS.get(extension, Code.FORMAT_OTHER)


async def _input(info: ObjectInfo, position: int, recipe: Recipe, objects: Objects) -> InputRef:
    if code := unsupported_format(info.key, videos=recipe.takes_video(position)):
        raise Rejected(f"{info.key} is of a format that is not taken", code=code)
    if info.size == 0:
        raise Rejected(f"{info.key} is empty", code=Code.EMPTY_FILE)
    if is_video(info.key):
        await _check_video(info, recipe, objects)
    elif info.size > MAX_PICTURE_BYTES:
        raise Rejected(f"{info.key} has {info.size} bytes", code=Code.PICTURE_TOO_LARGE)
    return InputRef(info.key, info.etag, info.size)


async def _check_video(info: ObjectInfo, recipe: Recipe, objects: Objects) -> None:
    """Check a video's size, and its type by its first bytes: a name that ends in mp4 proves nothing.

    Raises:
        messages.errors.Rejected: it is too large, no video of a type that is taken, or gone meanwhile.
    """
    if info.size > recipe.most_video_bytes:
        raise Rejected(f"{info.key} has {info.size} bytes", code=Code.VIDEO_TOO_LARGE)
    try:
        async with objects.open(info.key, if_match=info.etag) as download:
            head = await anext(aiter(download), b"")
    except (NotFound, Changed) as error:
        raise Rejected(f"the upload {info.key} was replaced", code=Code.INPUT_CHANGED) from error
    if (kind := type_of(head)) not in VIDEO_TYPES:
        raise Rejected(f"{info.key} is {kind or 'of an unknown type'}, and no video that is taken", code=Code.BAD_VIDEO)
