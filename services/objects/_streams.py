"""Bodies that flow between the loop and a thread, with a few pieces in memory at a time."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

from services.objects.port import ObjectInfo

__all__ = ["PIECE", "Incoming", "Outgoing", "Stopped", "pieces_of"]

PIECE: Final = 1 << 20
"""Bytes of a piece that is read."""

_WAITING: Final = 2  # pieces between the loop and the thread: one to send while the next one comes


class Stopped(Exception):
    """The upload was stopped: raised in the thread that sends it, which ends the request before its last byte."""


class Outgoing:
    """A sized iterable for the SDK: the loop feeds it and one thread sends it.

    Its size makes the SDK send Content-Length; without one it would send chunks, whose end COS does not sign.

    Args:
        size: bytes in all.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(_WAITING)
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stopped = False
        self._unread = False

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the pieces, in the thread that sends them."""
        while (piece := self._pieces.get()) is not None and not self._stopped:
            self._loop.call_soon_threadsafe(self._room.release)
            yield piece
        if self._stopped:
            raise Stopped

    async def feed(self, pieces: AsyncIterator[bytes]) -> None:
        """Pass on the pieces as fast as they are sent; return early when the sending thread has ended."""
        async for piece in pieces:
            await self._room.acquire()
            if self._unread:
                return
            self._pieces.put(piece)
        self._pieces.put(None)

    def stop(self) -> None:
        """Stop the upload: the sending thread raises `Stopped` at its next piece."""
        self._stopped = True
        self._pieces.put(None)

    def abandon(self) -> None:
        """Note that the sending thread has ended and takes no more pieces. Called on the loop."""
        self._unread = True
        self._room.release()


class Incoming:
    """An object being read, piece by piece, each piece in a thread.

    Args:
        info: the object.
        read: gives the next piece, or nothing at the end.
    """

    def __init__(self, info: ObjectInfo, read: Callable[[], Awaitable[bytes]]) -> None:
        self._info = info
        self._read = read

    @property
    def info(self) -> ObjectInfo:
        """The object."""
        return self._info

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces, at most 1 MiB each."""
        while piece := await self._read():
            yield piece


def pieces_of(body: Any) -> Iterator[bytes]:  # noqa: ANN401 - the SDK has no types
    """Return the bytes of the SDK's body as stored: no Content-Encoding is decoded, so a small object stays small.

    Piece by piece, because urllib3 notices an answer that broke off only when it is asked for more than came.
    """
    pieces: Iterator[bytes] = body.get_raw_stream().stream(PIECE, decode_content=False)
    return pieces
