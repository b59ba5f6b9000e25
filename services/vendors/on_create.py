"""Outcome of a paid call: the three possible ones, and the HTTP statuses that prove one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

__all__ = ["HTTP_ON_CREATE", "OnCreate"]


class OnCreate(StrEnum):
    """Meaning of an answer to a paid create."""

    FULL = "full"
    """Not accepted; the same call may be accepted later."""
    REFUSED = "refused"
    """Not accepted, and never will be."""
    UNKNOWN = "unknown"
    """A job may exist or not."""


HTTP_ON_CREATE: Final[Mapping[int, OnCreate]] = {
    **dict.fromkeys((401, 402, 403, 429), OnCreate.FULL),
    **dict.fromkeys((400, 404, 405, 410, 413, 414, 415, 422, 431), OnCreate.REFUSED),
}
"""Statuses that prove that a create was not accepted, where no code says more; any other proves nothing.

Source: docs/reference/vendors.md.
"""
