"""Media types of pictures and videos by their first bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["HEAD", "MOST_BYTES", "type_of"]

HEAD: Final = 32
"""First bytes of a file that show every type known here."""

MOST_BYTES: Final[Mapping[str, int]] = {"image/": 32 << 20, "video/": 2 << 30}
"""Media -> bytes of a result, at most. The picture service takes 32 MB (CI, "Persistent image processing")."""

_MAGIC: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL), "image/bmp"),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff"),
    (re.compile(rb"\0\0\0.ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"\0\0\0.ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL), "image/heic"),
    (re.compile(rb"\0\0\0.ftypqt  ", re.DOTALL), "video/quicktime"),
    (re.compile(rb"\0\0\0.ftyp(?:iso|mp4|avc1|M4V|dash|MSNV|3gp)", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1aE\xdf\xa3"), "video/webm"),
)


def type_of(head: bytes) -> str:
    """Return the media type of a picture or video by its first bytes; empty for anything else."""
    return next((name for magic, name in _MAGIC if magic.match(head)), "")
