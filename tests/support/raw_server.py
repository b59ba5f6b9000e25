"""A server without HTTP code: a test writes its answers byte by byte."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["EndlessAnswer", "Reader", "Writer", "ok", "raw_server", "read_request_body"]

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


@asynccontextmanager
async def raw_server(answer: Callable[[bytes, Reader, Writer], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve on a free port; yields its URL."""

    async def handle(reader: Reader, writer: Writer) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await answer(head, reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left: the test looks at what the client received
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def ok(body: bytes, extra: str = "") -> bytes:
    """A 200 of known length."""
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


async def read_request_body(head: bytes, reader: Reader) -> int:
    """Read and discard a body of known length; return the length."""
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert length, "a body of known length"
    left = int(length.group(1))
    while left:
        left -= len(await reader.read(min(left, 1 << 16)))
    return int(length.group(1))


class EndlessAnswer:
    """A 200 with 100 MiB of blanks, for `raw_server`; counts the bytes that were written."""

    def __init__(self) -> None:
        self.written = 0

    async def __call__(self, _: bytes, __: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        while self.written < 100 << 20:
            writer.write(b" " * 65_536)
            await writer.drain()
            self.written += 65_536
