"""JSON and text files of other people: a byte order mark in front of UTF-8 is no part of what they say."""

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
"""Byte order mark -> encoding. UTF-32's first: the little-endian one begins like UTF-16's."""


class WrongEncoding(UnicodeError):
    """A text whose byte order mark says that it is no UTF-8; the error's text says what it is and what to do."""


def without_bom(raw: bytes) -> bytes:
    """The bytes of a UTF-8 text without its byte order mark, which Windows' editors write and JSON forbids.

    Args:
        raw: the file's bytes.

    Raises:
        WrongEncoding: it begins with the mark of UTF-16 or UTF-32, as what PowerShell's `>` writes.
    """
    for mark, name in _OTHERS.items():
        if raw.startswith(mark):
            raise WrongEncoding(f"it is {name}: save it as UTF-8")
    return raw.removeprefix(codecs.BOM_UTF8)
