"""A download that is held until it is whole: in memory, or in a file without a name."""

from __future__ import annotations

import asyncio
import io
import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from services.errors import FetchFailed
from services.media.spool import hold
from services.media.strip import Malformed

MIB = 1 << 20


class Source:
    """Pieces, and perhaps an error behind them."""

    def __init__(self, body: bytes, piece: int = 1000, error: Exception | None = None) -> None:
        self._body = body
        self._piece = piece
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), self._piece):
            yield self._body[at : at + self._piece]
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(
    ("size", "piece"), [(0, 1), (1, 1), (4 * MIB, MIB), (4 * MIB + 1, MIB), (9 * MIB + 7, 300_000), (9 * MIB, 20 * MIB)]
)
async def test_what_goes_in_comes_out_in_bounded_pieces_and_more_than_once(size: int, piece: int) -> None:
    body = random.Random(size).randbytes(size)
    async with hold(Source(body, piece)) as held:
        assert held.size == size
        for _ in range(2):
            pieces = [found async for found in held]
            assert b"".join(pieces) == body
            assert all(len(found) <= MIB for found in pieces)


@pytest.mark.parametrize("size", [(60, 40), (1600, 1200)])
async def test_a_picture_loses_the_same_in_memory_and_in_a_file(size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    image = Image.frombytes("RGB", size, random.Random(1).randbytes(size[0] * size[1] * 3))
    image.save(buffer, "PNG", compress_level=0)
    plain = buffer.getvalue()
    async with hold(Source(plain + b"an archive", 100_000)) as held:
        await held.strip_as("image/png")
        assert held.size == len(plain)
        assert b"".join([piece async for piece in held]) == plain


async def test_what_is_malformed_stays_whole() -> None:
    async with hold(Source(b"\xff\xd8 no picture")) as held:
        with pytest.raises(Malformed):
            await held.strip_as("image/jpeg")
        assert b"".join([piece async for piece in held]) == b"\xff\xd8 no picture"


@pytest.mark.parametrize("size", [100, 6 * MIB])
def test_a_source_that_breaks_says_so_itself_and_leaves_no_file(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def broken() -> None:
        async with hold(Source(bytes(size), error=FetchFailed("cut"))):
            pytest.fail("it was never whole")

    with pytest.raises(FetchFailed, match="cut"):
        asyncio.run(broken())
    assert not list(tmp_path.iterdir())
