from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from services.objects._streams import Outgoing, Stopped


async def numbered(count: int, given: list[int]) -> AsyncIterator[bytes]:
    for number in range(count):
        given.append(number)
        yield b"%d," % number


async def test_pieces_arrive_in_order_and_the_size_is_told() -> None:
    body = Outgoing(123)
    taking = asyncio.create_task(asyncio.to_thread(lambda: b"".join(body)))
    await body.feed(numbered(50, []))
    assert await taking == b"".join(b"%d," % number for number in range(50))
    assert len(body) == 123


async def test_a_slow_sender_holds_the_source_back() -> None:
    body, given = Outgoing(9), list[int]()
    feeding = asyncio.create_task(body.feed(numbered(100, given)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert given == [0, 1, 2], "two wait, the third is in hand"
    pieces = iter(body)
    await asyncio.to_thread(next, pieces)
    for _ in range(20):
        await asyncio.sleep(0)
    assert given == [0, 1, 2, 3]
    body.abandon()
    await feeding


async def test_a_sender_that_ended_lets_the_source_go() -> None:
    body, given = Outgoing(9), list[int]()
    feeding = asyncio.create_task(body.feed(numbered(100, given)))
    await asyncio.sleep(0)
    body.abandon()
    await feeding
    assert len(given) < 100


async def test_a_stopped_body_never_gives_its_rest() -> None:
    body = Outgoing(9)
    await body.feed(numbered(2, []))

    def take(pieces: Iterator[bytes]) -> bytes:
        first = next(pieces)
        body.stop()
        with pytest.raises(Stopped):
            next(pieces)
        return first

    assert await asyncio.to_thread(take, iter(body)) == b"0,"


async def test_a_stop_wakes_a_sender_that_waits() -> None:
    body = Outgoing(9)
    taking = asyncio.create_task(asyncio.to_thread(list, body))
    await asyncio.sleep(0)
    body.stop()
    with pytest.raises(Stopped):
        await taking
