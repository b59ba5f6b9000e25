"""Lenient parsing of COS events: real events differ from the documentation in small details. Pure.

Source: SCF developer guide, COS trigger. Real events differ from it in the type of the size and in additional fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["CREATED", "Upload", "uploads_in"]

CREATED: Final = "cos:ObjectCreated:"
"""Prefix of the names of all events about a created object."""

_PARTS: Final = 3
"""Parts of a key in an event: `/{appid}/{bucket name}/{object key}`."""


class Upload(msgspec.Struct, frozen=True):
    """A created object."""

    bucket: str
    """Bucket with the appid: `name-1250000000`."""
    key: str
    """Key without a leading slash, as the event spells it."""


def uploads_in(event: object) -> tuple[tuple[Upload, ...], int]:
    """Return the objects that an event reports as created, and the number of other records.

    The event also has the uploader's Authorization, which is neither read nor returned.
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
