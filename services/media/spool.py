"""A download held until it is whole: in memory while it is small, else in a file that has no name."""

from __future__ import annotations

import asyncio
import mmap
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import IO, Final, Protocol

from services.media.strip import Data, Piece, Stripped, strip

__all__ = ["Held", "Pieces", "hold"]

_IN_MEMORY: Final = 4 << 20
"""Bytes that are kept in memory."""

_AT_ONCE: Final = 256 << 10
"""Bytes that are looked at without a thread: a file of nothing but small segments takes a microsecond for each."""

_PIECE: Final = 1 << 20
"""Bytes of a piece that is handed on, at most."""


class Pieces(Protocol):
    """A body that is read once, piece by piece."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces."""
        ...


class Held:
    """A whole file. Implements `services.objects.port.Source` with the parts that are kept; at first all of it."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._pieces: tuple[Piece, ...] = ((0, len(data)),)
        self.size = len(data)
        """Bytes of the parts that are kept."""
        self.label = b""
        """The packet with its labels of AI-made content; empty for none."""
        self.short_side = 0
        """Shorter side of a picture in pixels, as its head says; 0 where it is not known."""

    async def strip_as(self, content_type: str, label: bytes = b"") -> None:
        """Leave out metadata and everything after the end; see `services.media.strip.strip`.

        Raises:
            services.media.strip.Malformed: it does not follow its format; all of it stays.
        """
        if len(self._data) <= _AT_ONCE:
            stripped = strip(self._data, content_type, label)
        else:
            stripped = await asyncio.to_thread(strip, self._data, content_type, label)
        self._take(stripped)

    def _take(self, stripped: Stripped) -> None:
        self._pieces, self.size = stripped.pieces, stripped.size
        self.label, self.short_side = stripped.label, stripped.short_side

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the rest, in pieces of at most 1 MiB."""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            begin, end = piece
            for at in range(begin, end, _PIECE):
                yield self._data[at : min(at + _PIECE, end)]


@asynccontextmanager
async def hold(pieces: Pieces) -> AsyncGenerator[Held, None]:
    """Read everything, and hold it for as long as this is open.

    Args:
        pieces: read once; its errors pass through.
    """
    begun = bytearray()
    async with AsyncExitStack() as stack:
        file: IO[bytes] | None = None
        async for piece in pieces:
            begun += piece
            if len(begun) > _IN_MEMORY:
                file = file or stack.enter_context(await asyncio.to_thread(tempfile.TemporaryFile))
                await asyncio.to_thread(file.write, begun)
                begun = bytearray()
        yield Held(bytes(begun) if file is None else stack.enter_context(await asyncio.to_thread(_mapped, file, begun)))


def _mapped(file: IO[bytes], rest: bytes | bytearray) -> mmap.mmap:
    file.write(rest)
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
