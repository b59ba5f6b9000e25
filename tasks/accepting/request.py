"""The uploader's request, in object metadata or in the file `task.json`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from messages.codes import Code
from messages.errors import Rejected
from messages.text import WrongEncoding, without_bom
from services.objects.port import ObjectInfo

__all__ = ["TASK_FILE", "TASK_FILE_LIMIT", "TaskRequest", "read_metadata", "read_task_file", "token_in"]

TASK_FILE: Final = "task.json"
"""Name of the file that describes a task with several inputs."""

TASK_FILE_LIMIT: Final = 64 << 10
"""Largest `task.json`, in bytes."""


class TaskRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The uploader's request, from object metadata or the file `task.json`."""

    kind: str
    params: Mapping[str, Any] = {}
    inputs: tuple[str, ...] = ()
    """Names of files beside `task.json`; empty for a kind without inputs, and for a picture, which is its own input."""
    ticket: str = ""
    """Read earlier, by `_Bearer`; here only an allowed name."""


class _Bearer(msgspec.Struct, frozen=True):
    """The part of `task.json` that identifies the task."""

    ticket: str = ""


def read_metadata(info: ObjectInfo) -> TaskRequest:
    """Read the request in the metadata of a picture.

    Raises:
        messages.errors.Rejected: its parameters are not a JSON object.
    """
    meta = info.meta
    text = meta.get("params", "") or "{}"
    try:
        # Headers are ASCII, so some clients percent-encode the whole value.
        plain = unquote(text) if text[0] == "%" else text
        params = msgspec.json.decode(plain.removeprefix("\ufeff"), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected("x-cos-meta-params is no JSON object", code=Code.BAD_PARAMETERS) from error
    return TaskRequest(kind=meta.get("kind", ""), params=params)


def token_in(task_file: bytes) -> str:
    """Return the ticket in `task.json`, even if the rest of the file is malformed."""
    try:
        return msgspec.json.decode(without_bom(task_file), type=_Bearer).ticket
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""


def read_task_file(info: ObjectInfo, body: bytes) -> TaskRequest:
    """Read the request in `task.json`.

    Raises:
        messages.errors.Rejected: it is too long, or cannot be read.
    """
    if info.size > TASK_FILE_LIMIT:
        raise Rejected(f"task.json has {info.size} bytes", code=Code.BAD_PARAMETERS)
    try:
        return msgspec.json.decode(without_bom(body), type=TaskRequest)
    except WrongEncoding as error:
        raise Rejected(f"task.json cannot be read: {error}", code=Code.BAD_PARAMETERS) from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected(f"task.json cannot be read: {type(error).__name__}", code=Code.BAD_PARAMETERS) from error
