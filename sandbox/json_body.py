"""JSON in the requests to the stand-ins of vendors."""

from __future__ import annotations

from typing import Any, cast

import msgspec

__all__ = ["json_object"]


def json_object(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a body; None if it is anything else."""
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None
