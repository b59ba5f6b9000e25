"""Headers of picture files, read before anything is decoded.

Sizes come from the headers, so a decompression bomb costs little. `Container.clean` is the file without its metadata
parts: Pillow warns about broken EXIF, broken animation and oversized text, and warnings cannot be silenced for one
thread alone, so Pillow never gets these parts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sandbox.cos.errors import BadPicture

__all__ = ["Container", "orientation_of", "read_container", "upright"]

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP"))
_MARK = 0xFF
_APP1 = 0xE1  # holds EXIF
_SCAN = 0xDA
_NOTES = frozenset(range(0xE0, 0xF0)) - {0xE0, 0xE2, 0xEE}  # all APPn but JFIF, colour profile, Adobe's transform
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B
_OS2_HEADER = 12  # bytes of the older BMP header, whose sizes are 16-bit
_EXIF = b"Exif\x00\x00"
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = range(1, 9)


@dataclass(frozen=True, slots=True)
class Container:
    """Picture file with its header read, not decoded."""

    format: str
    """jpeg, png, gif, webp or bmp."""
    width: int
    """Pixels, as stored: EXIF orientation is not applied."""
    height: int
    frames: int
    """1 unless it is an animation. An animated PNG counts as its still picture."""
    exif: bytes
    """The TIFF block, without JPEG's `Exif` prefix; empty if there is none."""
    clean: bytes
    """The file without its metadata parts: input of the decoder."""


def read_container(data: bytes) -> Container:
    """Read the header of a picture file.

    Raises:
        BadPicture: not one of the five formats, or truncated.
    """
    try:
        container = _read(data)
    except (struct.error, IndexError) as error:
        raise BadPicture("the file is truncated") from error
    if container.width <= 0 or container.height <= 0:
        raise BadPicture("a side is 0 pixels")
    return container


def _read(data: bytes) -> Container:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(b"BM"):
        return _bmp(data)
    raise BadPicture("not a picture")


def _jpeg(data: bytes) -> Container:
    width = height = 0
    exif = b""
    kept = [data[:2]]
    at = 2
    while True:
        if data[at] != _MARK:
            raise BadPicture("a JPEG marker is missing")
        marker = data[at + 1]
        if marker == _MARK:
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", body, 1)
        if marker == _APP1 and body.startswith(_EXIF):
            exif = exif or body[len(_EXIF) :]
        if marker == _SCAN:
            break
        if marker not in _NOTES:
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    return Container("jpeg", width, height, 1, exif, b"".join((*kept, data[at:])))


def _png(data: bytes) -> Container:
    width, height = struct.unpack_from(">II", data, 16)
    exif = b""
    kept = [_PNG]
    at = len(_PNG)
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise BadPicture("the file is truncated")
        if kind == b"eXIf":
            exif = data[at + 8 : end - 4]
        if kind in _PNG_KEPT:
            kept.append(data[at:end])
        at = end
    return Container("png", width, height, 1, exif, b"".join(kept))


def _gif(data: bytes) -> Container:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colours(flags)
    frames = 0
    while data[at] != _GIF_TRAILER:
        if data[at] == _GIF_EXTENSION:
            at = _skip_blocks(data, at + 2)
            continue
        if data[at] != _GIF_IMAGE:
            raise BadPicture("an unknown GIF block")
        left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
        if left + wide > width or top + high > height:
            raise BadPicture("a GIF frame is outside its screen")
        frames += 1
        at = _skip_blocks(data, at + 11 + _colours(flags))
    return Container("gif", width, height, max(frames, 1), b"", data)


def _colours(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _webp(data: bytes) -> Container:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise BadPicture("the file is truncated")
    width = height = frames = 0
    exif = b""
    at = 12
    while at + 8 <= size + 8:
        kind, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if not width:
            width, height = _webp_size(kind, data, body)
        if kind == b"ANMF":
            frames += 1
        if kind == b"EXIF":
            exif = data[body : body + length].removeprefix(_EXIF)
        at = body + length + (length & 1)
    return Container("webp", width, height, max(frames, 1), exif, data)


def _webp_size(kind: bytes, data: bytes, body: int) -> tuple[int, int]:
    if kind == b"VP8X":
        wide, high = data[body + 4 : body + 7], data[body + 7 : body + 10]
        return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, body + 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, body + 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0


def _bmp(data: bytes) -> Container:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == _OS2_HEADER else "<ii", data, 18)
    return Container("bmp", width, abs(height), 1, b"", data)


def orientation_of(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or the block is broken."""
    found = _orientation(exif)
    return found[1] if found else 1


def upright(exif: bytes) -> bytes:
    """Return the EXIF block with orientation 1, for a picture that was rotated."""
    found = _orientation(exif)
    if not found:
        return exif
    at, _ = found
    return exif[:at] + (b"\x00\x01" if exif.startswith(b"MM") else b"\x01\x00") + exif[at + 2 :]


def _orientation(exif: bytes) -> tuple[int, int] | None:
    """Return offset and value of the orientation; a broken block is ignored, because it must not refuse a picture."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        for at in range(first + 2, first + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(f"{order}H", exif, at)
            if tag == _ORIENTATION_TAG:
                (value,) = struct.unpack_from(f"{order}H", exif, at + 8)
                return (at + 8, value) if value in _ORIENTATIONS else None
    except struct.error:
        return None
    return None
