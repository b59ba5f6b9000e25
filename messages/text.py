"""Text files from outside: the byte order mark in front of UTF-8 is removed, other encodings are rejected."""

from __future__ import annotations

import codecs
from typing import Final

__all__ = ["WrongEncoding", "without_bom"]

_OTHERS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Byte order mark -> encoding. UTF-32 comes first, because its little-endian mark begins like that of UTF-16."""


class WrongEncoding(UnicodeError):
    """Text with the byte order mark of another encoding than UTF-8; the message names the encoding and the remedy."""


def without_bom(raw: bytes) -> bytes:
    """Remove the byte order mark of a UTF-8 text; Windows' editors write one, and JSON forbids it.

    Args:
        raw: the file's bytes.

    Raises:
        WrongEncoding: it begins with the mark of UTF-16 (PowerShell's `>` writes one) or UTF-32.
    """
    for mark, name in _OTHERS.items():
        if raw.startswith(mark):
            raise WrongEncoding(f"it is {name}: save it as UTF-8")
    return raw.removeprefix(codecs.BOM_UTF8)
