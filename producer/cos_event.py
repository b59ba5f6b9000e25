"""COS events, read leniently: documents and real events differ in small things. Pure.

Source: SCF developer guide, COS trigger; the shape of a real event differs from it in the size's type and extra fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["CREATED", "Upload", "uploads_in"]

CREATED: Final = "cos:ObjectCreated:"
"""Prefix of every event about an object that was made."""

_PARTS: Final = 3
"""A key in an event is `/{appid}/{bucket name}/{object key}`."""


class Upload(msgspec.Struct, frozen=True):
    """One object that was created."""

    bucket: str
    """With the appid: `name-1250000000`."""
    key: str
    """Without a leading slash, as the event spells it."""


def uploads_in(event: object) -> tuple[tuple[Upload, ...], int]:
    """Objects that an event reports as created, and how many records were something else.

    The uploader's Authorization, which an event carries, is not read and never leaves this function.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    rows: list[Any] = records if isinstance(records, list) else []
    found = [_upload(record) for record in rows]
    uploads = tuple(upload for upload in found if upload is not None)
    return uploads, len(rows) - len(uploads)


def _upload(record: object) -> Upload | None:
    name = _text(record, "event", "eventName")
    key = _text(record, "cos", "cosObject", "key").lstrip("/")
    bucket, appid = _text(record, "cos", "cosBucket", "name"), _text(record, "cos", "cosBucket", "appid")
    parts = key.split("/", 2)
    if not name.startswith(CREATED) or not bucket or len(parts) != _PARTS:
        return None
    full = bucket if not appid or bucket.endswith(f"-{appid}") else f"{bucket}-{appid}"
    return Upload(full, parts[2])


def _text(value: object, *path: str) -> str:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return str(value) if isinstance(value, str | int) else ""
