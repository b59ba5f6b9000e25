"""Lenient reading of a vendor's JSON: a field that is missing or of another type is empty, never an error. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, cast

import msgspec

__all__ = ["as_list", "as_map", "as_number", "as_text", "decode_object", "redacted"]

# Both begin where a run of letters begins, or an error that quotes a picture in base64 would be looked at for minutes.
_URL: Final = re.compile(r"(?<!\w)\w++://\S+")
_TOKEN: Final = re.compile(r"(?<![0-9A-Za-z_\-])(?=[A-Za-z_\-]*+[0-9])[0-9A-Za-z_\-]{24,}+")
"""A key or a signature that the vendor quotes back: longer than its ids, and no word."""
_MOST_CHARS: Final = 400
_LARGEST: Final = 1e9


def decode_object(body: bytes) -> Mapping[str, object]:
    """Return the JSON object in `body`, empty without one. Hostile bytes also raise Unicode and recursion errors."""
    try:
        return as_map(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def as_map(value: object) -> Mapping[str, object]:
    """Return an object; empty for anything else."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Return a list; empty for anything else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def as_text(value: object) -> str:
    """Return a string or a whole number as text; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip()


def as_number(value: object) -> float:
    """Return a number from 0 to a billion, also where it is written as text; 0 for anything else."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return number if 0 <= number <= _LARGEST else 0.0


def redacted(text: str) -> str:
    """Return a vendor's words for operators: without URLs and keys, and cut."""
    return _TOKEN.sub("<token>", _URL.sub("<url>", text))[:_MOST_CHARS]
