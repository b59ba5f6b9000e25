"""Removal of metadata, needless colour profiles and trailing data from pictures. Pure.

Pixels are not touched: a file is described as the pieces of it that stay. Kept are what a decoder needs, a profile that
is not plain sRGB, the orientation, and labels of AI-made content (`services.media.labels`), written as a packet of
their own. Sources: ITU T.81 annex B (JPEG), Exif 2.3 section 4.5 and 4.6, ISO 15948 (PNG), RFC 9649 (WebP), ISO
14496-12 section 4.2 (MP4).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from services.media.labels import completed, label_of

if TYPE_CHECKING:
    import mmap

__all__ = ["Data", "Malformed", "Piece", "Stripped", "Truncated", "strip"]

Data: TypeAlias = "bytes | mmap.mmap"
"""A whole file: in memory, or mapped."""

Piece: TypeAlias = bytes | tuple[int, int]
"""New bytes, or (begin, end) of the file."""


class Malformed(ValueError):
    """The file does not follow its format, so its contents are unknown."""


class Truncated(Malformed):
    """The file ends in the middle."""


class Stripped(msgspec.Struct, frozen=True):
    """The kept parts of a file."""

    pieces: tuple[Piece, ...]
    size: int
    label: bytes = b""
    """The packet with its labels of AI-made content, which stays too; empty for none."""
    short_side: int = 0
    """Shorter side of a picture in pixels, as its head says; 0 where it is not known."""


_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF: Final = b"Exif\0\0"
_ICC: Final = b"ICC_PROFILE\0"
_SRGB: Final = re.compile(rb"desc\0{4}.{4}sRGB|mluc\0{4}.{20}\0s\0R\0G\0B", re.DOTALL)
"""A description that begins so: plain text in version 2 of ICC profiles, UTF-16 in version 4."""
_SOI, _EOI, _SOS, _JFIF = 0xD8, 0xD9, 0xDA, 0xE0
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length: TEM and the restarts."""
_KEPT: Final = frozenset({0x01, *range(0xC0, 0xC8), *range(0xC9, 0xE0)})
"""Markers that a decoder needs besides some application segments: everything else may hold anything."""
_JFIF_SIZE, _ADOBE_SIZE = 14, 12
"""Bytes of these segments that say something: a JFIF thumbnail follows."""
_NEXT_MARKER: Final = re.compile(rb"\xff(?![\x00\xff\xd0-\xd7])")
_ORIENTATION: Final = 0x0112
_PLAIN_MAX: Final = 8
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DATA_MAX: Final = (1 << 31) - 1
_PROFILE_MAX: Final = 4 << 20
_PNG_KEPT: Final[Mapping[bytes, int]] = dict(
    zip(
        b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB sBIT cICP mDCV cLLI bKGD pHYs acTL fcTL fdAT iCCP".split(),
        (13, 768, _DATA_MAX, 0, 256, 4, 32, 1, 4, 4, 24, 8, 6, 9, 8, 26, _DATA_MAX, _PROFILE_MAX),
        strict=True,
    )
)
"""Chunks that a decoder needs, and how long each may be: a longer one holds something else."""
_TEXT_MAX, _TEXTS_MAX = 64 << 10, 1 << 20
"""Bytes of one compressed text that are looked at, and of all: a small file may unpack to a large one."""
_WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"ICCP"})
_WEBP_ICC, _WEBP_ALPHA, _WEBP_EXIF, _WEBP_XMP = 0x20, 0x10, 0x08, 0x04
_VP8_SIDE: Final = 0x3FFF
_BOX_HEAD: Final = 8
_BOX_LONG_HEAD: Final = 16


def strip(data: Data, content_type: str, label: bytes = b"") -> Stripped:
    """Find the parts of a file that are kept.

    Args:
        data: the file.
        content_type: by its first bytes; of a type that is not known here all of it stays.
        label: a packet of `services.media.labels` whose labels are written where the file has none of the sort.

    Raises:
        Truncated: it ends in the middle.
        Malformed: it does not follow its format.
    """
    try:
        return _FORMATS.get(content_type, _whole)(data, label)
    except (struct.error, IndexError):
        raise Truncated(f"{content_type} ends in the middle") from None


def _whole(data: Data, _: bytes) -> Stripped:
    return Stripped(((0, len(data)),), len(data))


def _put_together(pieces: list[Piece], label: bytes, sides: tuple[int, int] = (0, 0)) -> Stripped:
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, tuple) and isinstance(last, tuple) and last[1] == piece[0]:
            joined[-1] = (last[0], piece[1])
        else:
            joined.append(piece)
    size = sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in joined)
    return Stripped(tuple(joined), size, label, min(sides))


# ---- JPEG ------------------------------------------------------------------------------------------------------------


def _jpeg(data: Data, label: bytes) -> Stripped:
    kept: list[Piece] = []
    metadata = bytearray()
    orientation = 1
    # Behind SOI, and behind JFIF's APP0, which must come first.
    place = 1
    seen: set[int] = set()
    sides = (0, 0)
    for marker, begin, end in _segments(data):
        seen.add(marker)
        if marker in _FRAMES:
            sides = struct.unpack(">HH", data[begin + 5 : begin + 9])
        body = b"" if marker in _KEPT else data[begin + 4 : end]
        piece = (begin, end) if marker in _KEPT else _application(marker, body, (begin, end))
        if piece is None:
            metadata += body
            orientation = _orientation_of(body) if body.startswith(_EXIF) else orientation
        else:
            place += marker == _JFIF and len(kept) == 1
            kept.append(piece)
    if _SOS not in seen or not seen & _FRAMES:
        raise Malformed("JPEG without a picture")
    label = completed(label_of(bytes(metadata)), label)
    extra = (_orientation(orientation) if orientation != 1 else b"") + (_segment(0xE1, _XMP + label) if label else b"")
    kept[place:place] = [extra] if extra else []
    return _put_together(kept, label, sides)


def _segments(data: Data) -> Iterator[tuple[int, int, int]]:
    """Iterate over (marker, begin, end) of everything from SOI to EOI; the data after a SOS belong to it."""
    if data[:2] != b"\xff\xd8":
        raise Malformed("no JPEG")
    yield _SOI, 0, 2
    at = 2
    while True:
        if data[at] != 0xFF:  # noqa: PLR2004 - what every marker begins with
            raise Malformed("no marker where one must be")
        while data[at] == 0xFF:  # noqa: PLR2004 - fill bytes
            at += 1
        # Fill bytes say nothing: a segment begins with the last of them.
        begin, marker = at - 1, data[at]
        at += 1
        if marker == _EOI:
            yield marker, begin, at
            return
        if marker not in _ALONE:
            at += _length(data, at)
        if marker == _SOS:
            found = _NEXT_MARKER.search(data, at)
            if found is None:
                raise Truncated("JPEG without an end")
            at = found.start()
        if at > len(data):
            raise Truncated("JPEG ends in a segment")
        yield marker, begin, at


def _length(data: Data, at: int) -> int:
    length: int = struct.unpack(">H", data[at : at + 2])[0]
    if length < 2:  # noqa: PLR2004 - it counts itself
        raise Malformed("a segment shorter than its length")
    return length


def _application(marker: int, body: bytes, segment: tuple[int, int]) -> Piece | None:
    """Return the kept part of a segment that is no part of the picture itself; None for nothing."""
    match marker:
        case 0xE0 if body.startswith(b"JFIF\0") and len(body) >= _JFIF_SIZE:
            return segment if len(body) == _JFIF_SIZE else _segment(marker, body[: _JFIF_SIZE - 2] + bytes(2))
        case 0xE2 if body.startswith(_ICC):
            # A profile in several segments is useless if one of them is missing.
            alone = body[len(_ICC) :][:2] == b"\1\1"
            return None if alone and _SRGB.search(body) else segment
        case 0xEE if body.startswith(b"Adobe") and len(body) >= _ADOBE_SIZE:
            return segment if len(body) == _ADOBE_SIZE else _segment(marker, body[:_ADOBE_SIZE])
        case _:
            return None


def _orientation_of(exif: bytes) -> int:
    """Return the orientation in an EXIF segment, 1 (as stored) without one."""
    tiff = exif[len(_EXIF) :]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * min(count, 512), 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION:
                return value if 1 <= value <= _PLAIN_MAX else 1
    except struct.error:
        return 1
    return 1


def _orientation(value: int) -> bytes:
    """Return an EXIF segment with nothing but an orientation."""
    entry = struct.pack(">HHIHH", _ORIENTATION, 3, 1, value, 0)
    return _segment(0xE1, _EXIF + b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4))


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


# ---- PNG -------------------------------------------------------------------------------------------------------------


def _png(data: Data, label: bytes) -> Stripped:
    if data[:8] != _PNG:
        raise Malformed("no PNG")
    kept: list[Piece] = [(0, 8)]
    metadata = bytearray()
    at, name, has_picture = len(_PNG), b"", False
    while name != b"IEND":
        length, name = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            raise Truncated("PNG ends in a chunk")
        if (name == b"IHDR") is not (at == len(_PNG)) or (name in {b"IHDR", b"IEND"} and length != _PNG_KEPT[name]):
            raise Malformed("PNG without its head or its end")
        body = b"" if name in {b"IDAT", b"fdAT"} else data[at + 8 : end - 4]
        if length > _PNG_KEPT.get(name, -1) or (name == b"iCCP" and body.startswith(b"sRGB")):
            metadata += name + body + (_inflated(name, body) if len(metadata) < _TEXTS_MAX else b"")
        else:
            kept.append((at, end))
        has_picture = has_picture or name == b"IDAT"
        at = end
    if not has_picture:
        raise Malformed("PNG without a picture")
    label = completed(label_of(bytes(metadata)), label)
    if label:
        kept.insert(2, _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + label))
    return _put_together(kept, label, struct.unpack(">II", data[16:24]))


def _inflated(name: bytes, body: bytes) -> bytes:
    """Return the beginning of a compressed text, where a label may stand; empty for anything else."""
    if name not in {b"iTXt", b"zTXt"}:
        return b""
    # Behind the keyword: a method (zTXt), or a flag, a method, and two more texts (iTXt).
    packed = body.partition(b"\0")[2][1:] if name == b"zTXt" else b"".join(body.split(b"\0", 4)[4:])
    try:
        return zlib.decompressobj().decompress(packed, _TEXT_MAX)
    except zlib.error:
        return b""


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


# ---- WebP ------------------------------------------------------------------------------------------------------------


def _webp(data: Data, label: bytes) -> Stripped:
    (size,) = struct.unpack("<I", data[4:8])
    stop = 8 + size
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise Malformed("no WebP")
    if stop > len(data):
        raise Truncated("WebP ends in a chunk")
    chunks: list[tuple[bytes, tuple[int, int]]] = []
    metadata = bytearray()
    at = 12
    while at + 8 <= stop:
        name, length = struct.unpack("<4sI", data[at : at + 8])
        end = min(at + 8 + length + length % 2, stop)
        if name not in _WEBP_KEPT or (name == b"ICCP" and _SRGB.search(data, at + 8, end)):
            metadata += data[at + 8 : end]
        else:
            chunks.append((name, (at, end)))
        at = end
    if not {b"VP8 ", b"VP8L", b"ANMF"} & {name for name, _ in chunks}:
        raise Malformed("WebP without a picture")
    label = completed(label_of(bytes(metadata)), label)
    return _webp_of(data, chunks, label)


def _webp_of(data: Data, chunks: list[tuple[bytes, tuple[int, int]]], label: bytes) -> Stripped:
    """Return the file of these chunks. Only a file with a VP8X header may have metadata, announced by it."""
    name, (begin, end) = chunks[0]
    width, height, flags = _webp_head(name, data[begin + 8 : end])
    kept: list[Piece] = [piece for _, piece in chunks]
    if name == b"VP8X" or label:
        has_icc = any(name == b"ICCP" for name, _ in chunks)
        flags = flags & ~(_WEBP_EXIF | _WEBP_XMP | _WEBP_ICC) | (_WEBP_ICC if has_icc else 0)
        flags |= _WEBP_XMP if label else 0
        head = struct.pack("<4sIB3x", b"VP8X", 10, flags) + _three(width - 1) + _three(height - 1)
        kept[: name == b"VP8X"] = [head]
    if label:
        kept.append(struct.pack("<4sI", b"XMP ", len(label)) + label + bytes(len(label) % 2))
    body = _put_together(kept, label)
    riff = struct.pack("<4sI4s", b"RIFF", body.size + 4, b"WEBP")
    return _put_together([riff, *body.pieces], label, (width, height))


def _webp_head(name: bytes, body: bytes) -> tuple[int, int, int]:
    """Return width, height and flags as VP8X has them, of the first chunk (RFC 9649, sections 2.5 to 2.7)."""
    match name:
        case b"VP8X":
            wide, high = body[4:7], body[7:10]
            return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1, body[0]
        case b"VP8 ":
            width, height = (side & _VP8_SIDE for side in struct.unpack("<HH", body[6:10]))
            if not (width and height):
                raise Malformed("WebP without a size")
            return width, height, 0
        case b"VP8L":
            (bits,) = struct.unpack("<I", body[1:5])
            flags = _WEBP_ALPHA if bits >> 28 & 1 else 0
            return (bits & _VP8_SIDE) + 1, (bits >> 14 & _VP8_SIDE) + 1, flags
        case _:
            raise Malformed("WebP without its head")


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


# ---- MP4 -------------------------------------------------------------------------------------------------------------


def _mp4(data: Data, _: bytes) -> Stripped:
    """Return the whole file, after a check that it is complete."""
    at = 0
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        if size == 1:
            (size,) = struct.unpack(">Q", data[at + _BOX_HEAD : at + _BOX_LONG_HEAD])
        if size == 0:
            break
        if size < _BOX_HEAD:
            raise Malformed("a box shorter than its head")
        at += size
    if at > len(data):
        raise Truncated("MP4 ends in a box")
    return _whole(data, b"")


_FORMATS: Final[Mapping[str, Callable[[Data, bytes], Stripped]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/webp": _webp,
    "video/mp4": _mp4,
}
