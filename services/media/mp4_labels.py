"""Metadata label of AI-made content in an mp4, written while it streams by: a few KB of it are held, never the video.

The label is the value of the key `AIGC` in the file's metadata (practice guide TC260-PG-20258A; as ffmpeg writes it
with `use_metadata_tags`): a `meta` box of handler `mdta` at the end of `moov` (QuickTime File Format, "Metadata"; ISO
14496-12, section 8.11). The rest of the file moves, so the offsets of chunks (8.7.5) and of fragments (8.8.7, 8.8.10)
are corrected.
"""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from services.errors import BadVideo
from services.media.ai_labels import AiLabel

__all__ = ["LabelledVideo", "Video", "label_in"]

_HEAD: Final = 8
_LONG_HEAD: Final = 16
_MOST_HELD: Final = 8 << 20
"""Bytes of a box that is held, at most: the index (`moov`) of an hour of video has about 2 MB."""
_OF_FRAGMENTS: Final = frozenset({b"moof", b"mfra"})
_PATH: Final = frozenset({b"trak", b"mdia", b"minf", b"stbl", b"traf"})
_OFFSETS: Final = {b"stco": ">I", b"co64": ">Q"}
_KEY: Final = b"AIGC"
_UTF8: Final = 1
_OBJECT: Final = re.compile(rb"\{[^{}]{1,4096}\}")


class Video(Protocol):
    """A video of known size that is read once, piece by piece."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces."""
        ...


class LabelledVideo:
    """A video with its label. Implements `services.objects.port.Source`. A label that is there already stays alone.

    Args:
        video: read once.
        label: of the file; or the JSON of one.
    """

    def __init__(self, video: Video, label: AiLabel | bytes) -> None:
        self._video = video
        self._meta = _meta_of(label if isinstance(label, bytes) else msgspec.json.encode(label))
        self.size: Final = video.size + len(self._meta)
        """Bytes in all."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces.

        Raises:
            services.errors.BadVideo: its index does not follow the format.
        """
        writer = _Writer(self._meta)
        async for piece in self._video:
            for part in writer.feed(piece):
                yield part
        for part in writer.end():
            yield part


async def label_in(video: AsyncIterable[bytes]) -> bytes:
    """Return the JSON of the label in a video's metadata; empty for none. It is read as far as its index.

    Raises:
        services.errors.BadVideo: its index is too large.
    """
    held, skip = bytearray(), 0.0
    async for piece in video:
        held += piece
        while held:
            passed = int(min(skip, len(held)))
            del held[:passed]
            skip -= passed
            found = _box_at(held, 0) if not skip else None
            if found is None:
                break
            name, _, size = found
            if name != b"moov":
                skip = size or float("inf")
            elif size > _MOST_HELD:
                raise BadVideo(f"its {name!r} has more than {_MOST_HELD} bytes")
            elif size and len(held) >= size:
                return _label_in(bytes(held[:size]))
            else:
                break
    return _label_in(bytes(held))


class _Writer:
    """Passes boxes on, and holds those with places of the file in them until they are whole."""

    def __init__(self, meta: bytes) -> None:
        self._meta = meta
        self._held = bytearray()
        self._left: float = 0
        self._at = 0
        self._moves = 0
        """End of the index: everything after it moves. 0 before the index was read."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        self._held += piece
        while self._held:
            if self._left:
                length = int(min(self._left, len(self._held)))
                self._left -= length
                yield self._taken(length)
                continue
            found = _box_at(self._held, 0)
            if found is None:
                return
            name, head, size = found
            if not (name == b"moov" if not self._moves else name in _OF_FRAGMENTS and size):
                # A box of size 0 reaches to the end of the file.
                self._left = size or float("inf")
            elif (size or len(self._held)) > _MOST_HELD:
                raise BadVideo(f"its {name!r} has more than {_MOST_HELD} bytes")
            elif not size or len(self._held) < size:
                return
            else:
                yield self._changed(self._taken(size), head)
            self._at += size

    def _taken(self, length: int) -> bytes:
        taken = bytes(self._held[:length])
        del self._held[:length]
        return taken

    def _changed(self, box: bytes, head: int) -> bytes:
        if self._moves:
            return _moved(box, head, self._moves, len(self._meta))
        self._moves = self._at + len(box)
        return _labelled(box, head, self._at, self._meta)

    def end(self) -> Iterator[bytes]:
        if self._held.startswith(b"moov", 4) and not self._moves:
            # One of size 0, which reaches to the end.
            yield _labelled(bytes(self._held), _HEAD, self._at, self._meta)
            return
        if self._held:
            yield bytes(self._held)
        if not self._moves:
            # No index: nothing can play it, and only its size is kept as promised.
            yield _free(len(self._meta))


def _moved(box: bytes, head: int, behind: int, by: int) -> bytes:
    """Return a box about fragments after a place, which have moved."""
    made = bytearray(box)
    try:
        _shift(made, head, len(made), behind, by)
    except (struct.error, IndexError) as error:
        raise BadVideo("a fragment does not follow the format") from error
    return bytes(made)


def _labelled(moov: bytes, head: int, at: int, meta: bytes) -> bytes:
    """Return the index with a label in it, as much longer in any case."""
    made = bytearray(moov)
    try:
        _shift(made, head, len(made), at + len(moov), len(meta))
        if _label_in(moov):
            return bytes(made) + _free(len(meta))
        _empty(made, head, len(made))
    except (struct.error, IndexError) as error:
        raise BadVideo("its index does not follow the format") from error
    size = len(made) + len(meta)
    if head == _LONG_HEAD:
        struct.pack_into(">Q", made, _HEAD, size)
    else:
        struct.pack_into(">I", made, 0, size)
    return bytes(made) + meta


def _label_in(moov: bytes) -> bytes:
    """Return the JSON of a label among the metadata, where names and values stand apart; empty for none."""
    if _KEY not in moov:
        return b""
    for found in _OBJECT.finditer(moov):
        with suppress(msgspec.DecodeError, UnicodeError):
            if "Label" in msgspec.json.decode(found[0], type=dict[str, str]):
                return found[0]
    return b""


def _empty(made: bytearray, begin: int, end: int) -> None:
    """Turn other metadata of the file into free space: readers take the first that has keys, and none needs to stay."""
    ranges = [(begin, end)]
    while ranges:
        for name, start, body, stop in _boxes(made, *ranges.pop()):
            if name == b"meta":
                made[start + 4 : start + _HEAD] = b"free"
                made[body:stop] = bytes(stop - body)
            elif name == b"udta":
                ranges.append((body, stop))


def _shift(made: bytearray, begin: int, end: int, behind: int, by: int) -> None:
    """Correct the offsets of all chunks and fragments after a place."""
    ranges = [(begin, end)]
    while ranges:
        for name, _, body, stop in _boxes(made, *ranges.pop()):
            if name in _PATH:
                ranges.append((body, stop))
                continue
            for form, place in _offsets(made, name, body, stop):
                (offset,) = struct.unpack_from(form, made, place)
                if offset >= behind:
                    struct.pack_into(form, made, place, offset + by)


def _offsets(made: bytearray, name: bytes, body: int, stop: int) -> Iterator[tuple[str, int]]:
    """Yield form and place of each offset in a box."""
    if form := _OFFSETS.get(name):
        (count,) = struct.unpack_from(">I", made, body + 4)
        yield from _column(form, body + 8, count, struct.calcsize(form), stop)
    elif name == b"tfhd" and made[body + 3] & 1:
        yield from _column(">Q", body + 8, 1, 8, stop)
    elif name == b"tfra":
        form, width = (">Q", 8) if made[body] else (">I", 4)
        lengths, count = struct.unpack_from(">II", made, body + 8)
        row = 2 * width + 3 + sum(lengths >> bits & 3 for bits in (0, 2, 4))
        yield from _column(form, body + 16 + width, count, row, stop + width)


def _column(form: str, first: int, count: int, row: int, stop: int) -> Iterator[tuple[str, int]]:
    """Yield form and place of the same field of each row.

    Raises:
        IndexError: the rows do not end before `stop`; nothing was yielded.
    """
    if first + count * row > stop:
        raise IndexError
    for n in range(count):
        yield form, first + n * row


def _boxes(data: bytes | bytearray, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (name, begin, begin of its body, end) of the boxes in a range."""
    # Old files end their user data with four zeros.
    while at < end and not (end - at < _HEAD and not any(data[at:end])):
        found = _box_at(data, at)
        if found is None or not found[2]:
            raise IndexError
        name, head, size = found
        if at + size > end:
            raise IndexError
        yield name, at, at + head, at + size
        at += size


def _box_at(data: bytes | bytearray, at: int) -> tuple[bytes, int, int] | None:
    """Return (name, bytes of the head, bytes in all) of the box at a place; None where its head is not whole."""
    if len(data) < at + _HEAD:
        return None
    size, name = struct.unpack_from(">I4s", data, at)
    if size != 1:
        return (name, _HEAD, size) if size >= _HEAD or not size else (name, _HEAD, _HEAD)
    if len(data) < at + _LONG_HEAD:
        return None
    (size,) = struct.unpack_from(">Q", data, at + _HEAD)
    return name, _LONG_HEAD, max(size, _LONG_HEAD)


def _meta_of(value: bytes) -> bytes:
    handler = struct.pack(">II4s12xx", 0, 0, b"mdta")
    key = struct.pack(">I4s", len(_KEY) + _HEAD, b"mdta") + _KEY
    item = _box(struct.pack(">I", 1), _box(b"data", struct.pack(">II", _UTF8, 0) + value))
    return _box(
        b"meta",
        bytes(4) + _box(b"hdlr", handler) + _box(b"keys", struct.pack(">II", 0, 1) + key) + _box(b"ilst", item),
    )


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + _HEAD, name) + body


def _free(size: int) -> bytes:
    return _box(b"free", bytes(size - _HEAD))
