r"""Foreign text as a terminal and a log may show it: what would move a cursor or turn the reading order is escaped.

An escape sequence (ESC, or its one-character C1 form) can rewrite lines that stand already, set a title or ask the
terminal to answer as if it were typed. Bidirectional controls make a text read in another order than it has
(CVE-2021-42574). Both are shown as `\x1b`, `\u202e`, so that a person sees that they are there.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["json_safe", "printable"]

_BREAKS: Final = "\u2028\u2029"
_BIDI: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSEEN: Final = "\u200b\u2060\ufeff\U000e0000-\U000e007f"
"""No width: they hide in a name, and the last are letters that no terminal shows."""

_ALWAYS: Final = f"\x7f-\x9f{_BREAKS}{_BIDI}{_UNSEEN}"
_UNSAFE: Final = re.compile(f"[\x00-\x08\x0b-\x1f{_ALWAYS}\ud800-\udfff]")
_UNSAFE_IN_JSON: Final = re.compile(f"[{_ALWAYS}]")


def printable(text: str) -> str:
    r"""Escape what a terminal would obey rather than show; line ends (`\n`) and tabs stay."""
    return _UNSAFE.sub(_escaped, text)


def json_safe(text: str) -> str:
    """Escape in the text of a JSON document what JSON itself allows raw. The document's value stays the same."""
    return _UNSAFE_IN_JSON.sub(_as_json, text)


def _escaped(match: re.Match[str]) -> str:
    point = ord(match[0])
    if point <= 0xFF:  # noqa: PLR2004 - one byte
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"  # noqa: PLR2004 - the basic plane


def _as_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
