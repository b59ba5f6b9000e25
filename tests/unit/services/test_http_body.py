"""Bodies of HTTP answers: by their bytes on the wire, and never unpacked."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import tracemalloc
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest

from services.http_body import IDENTITY, is_encoded, read_body


class Stream(httpx.AsyncByteStream):
    """A body from a network; counts what was taken."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.taken += len(piece)
            yield piece

    async def aclose(self) -> None:
        self.closed = True


def bomb() -> bytes:
    """A body of one or two kilobytes that unpacks to a megabyte, and that to a gigabyte."""
    return gzip.compress(gzip.compress(bytes(1 << 20)) * 1024)


@pytest.mark.parametrize(
    "reported", ["gzip", "GZIP", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "x-unknown"]
)
async def test_a_compressed_body_is_not_read_at_all(reported: str) -> None:
    stream = Stream([bomb()])
    assert await read_body(httpx.Response(200, headers={"Content-Encoding": reported}, stream=stream), 1 << 20) == b""
    assert stream.taken == 0


@pytest.mark.parametrize("reported", [None, "", "identity", " Identity "])
async def test_any_other_body_is_read_as_it_comes(reported: str | None) -> None:
    headers = {} if reported is None else {"Content-Encoding": reported}
    assert await read_body(httpx.Response(200, headers=headers, stream=Stream([b"ab", b"", b"c"])), 3) == b"abc"


async def test_a_body_without_end_is_left_at_its_limit() -> None:
    stream = Stream(itertools.repeat(bytes(1000)))
    response = httpx.Response(200, headers={"Transfer-Encoding": "chunked"}, stream=stream)
    assert await read_body(response, 10_000) == b""
    assert stream.taken <= 12_000


async def test_a_bomb_without_a_name_stays_as_small_as_it_is() -> None:
    packed = bomb()
    tracemalloc.start()
    body = await read_body(httpx.Response(200, stream=Stream([packed])), 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert body == packed
    assert peak < 1 << 20


async def test_a_body_that_was_handed_over_whole_has_the_same_limit() -> None:
    response = httpx.Response(200, content=b"abc")
    assert await read_body(response, 3) == b"abc"
    assert await read_body(response, 2) == b""


async def test_a_body_of_crumbs_holds_up_nobody() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    assert len(await read_body(httpx.Response(200, stream=Stream([b"x"] * 5000)), 1 << 20)) == 5000
    beside.cancel()
    assert turns >= 4999


async def test_what_breaks_off_says_so() -> None:
    def pieces() -> Iterable[bytes]:
        yield b"half"
        raise httpx.ReadError("cut")

    with pytest.raises(httpx.ReadError):
        await read_body(httpx.Response(200, stream=Stream(pieces())), 100)


def test_headers_are_found_in_any_case() -> None:
    assert is_encoded(httpx.Headers({"CONTENT-encoding": "gzip"}))
    assert not is_encoded(httpx.Headers(IDENTITY))
