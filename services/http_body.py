"""Bodies of HTTP answers: read as they come over the wire, and never unpacked.

A kilobyte that was compressed twice unpacks to gigabytes, so every client asks for no encoding, refuses one that comes
all the same, and counts the bytes of the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    import httpx

__all__ = ["IDENTITY", "is_encoded", "let_others_run", "read_body"]

_SMALL: Final = 1024
"""Bytes of a piece that may be one of thousands that arrive at once."""

IDENTITY: Final[Mapping[str, str]] = {"Accept-Encoding": "identity"}
"""Headers of a request whose answer must not be compressed (RFC 9110, section 12.5.3)."""


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Return whether an answer's body is compressed, by headers that are found in any case."""
    encoding = headers.get("Content-Encoding", "").strip().lower()
    return encoding not in {"", "identity"}


async def let_others_run(piece: bytes) -> None:
    """Yield to the event loop after a small piece: ten thousand chunks of a byte arrive in one read of the network."""
    if len(piece) < _SMALL:
        await asyncio.sleep(0)


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """Return the body of a streamed answer, by its bytes on the wire.

    Empty where it is compressed or longer than `limit` bytes: then nothing can be read from it but its status.

    Raises:
        httpx.HTTPError: it broke off.
    """
    if is_encoded(response.headers):
        return b""
    if response.is_stream_consumed:
        # Not from the network: a transport may pass a whole body.
        return response.content if len(response.content) <= limit else b""
    body = bytearray()
    # httpx calls it an iterator; it is a generator, and reading may stop in the middle.
    async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_raw())) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > limit:
                return b""
            await let_others_run(piece)
    return bytes(body)
