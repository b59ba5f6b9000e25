"""Short forms of fields in every message. Pure.

A trace context is 55 characters of text and 25 bytes of content, so it travels as 34 characters of URL-safe base64:
version 00 and the dashes are left out, as they say nothing (W3C Trace Context, section 3.2). Other text stays.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

__all__ = ["base64_text", "pack_traceparent", "unpack_traceparent"]

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_PACKED_CHARS: Final = 34
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def base64_text(data: bytes) -> str:
    """Return bytes in URL-safe base64 without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE).decode()


def pack_traceparent(traceparent: str) -> str:
    """Return the short form of a trace context; text that is none as it is."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return base64_text(bytes.fromhex("".join(found.groups()))) if found else traceparent


def unpack_traceparent(text: str) -> str:
    """Return the trace context of a short form; other text as it is."""
    if len(text) != _PACKED_CHARS:
        return text
    try:
        data = binascii.a2b_base64(text.encode("ascii").translate(_STANDARD) + b"==", strict_mode=True)
    except ValueError:
        return text
    digits = data.hex()
    return f"00-{digits[:32]}-{digits[32:48]}-{digits[48:]}"
