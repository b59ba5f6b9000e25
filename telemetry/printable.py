r"""Escaping of foreign text for terminals and logs: characters that move the cursor or change the reading order.

An escape sequence (ESC, or its one-character C1 form) can rewrite earlier lines, set a title, or make the terminal
answer as if the user had typed. Bidirectional controls change the order in which a text is read (CVE-2021-42574). Both
are shown escaped, such as `\x1b` and `\u202e`, so that they are visible.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["json_safe", "printable"]

_BREAKS: Final = "\u2028\u2029"
_BIDI: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSEEN: Final = "\u200b\u2060\ufeff\U000e0000-\U000e007f"
"""Characters without width: they are invisible in names. The last range are letters that no terminal shows."""

_ALWAYS: Final = f"\x7f-\x9f{_BREAKS}{_BIDI}{_UNSEEN}"
_UNSAFE: Final = re.compile(f"[\x00-\x08\x0b-\x1f{_ALWAYS}\ud800-\udfff]")
_UNSAFE_IN_JSON: Final = re.compile(f"[{_ALWAYS}]")


def printable(text: str) -> str:
    r"""Escape characters that a terminal would execute instead of show; line ends (`\n`) and tabs stay."""
    return _UNSAFE.sub(_escaped, text)


def json_safe(text: str) -> str:
    """Escape characters that JSON allows raw, in the text of a JSON document. The document's value stays the same."""
    return _UNSAFE_IN_JSON.sub(_as_json, text)


def _escaped(match: re.Match[str]) -> str:
    point = ord(match[0])
    if point <= 0xFF:  # noqa: PLR2004 - one byte
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"  # noqa: PLR2004 - the basic plane


def _as_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
