"""A time limit for work that mostly does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar, cast, final

__all__ = ["within"]

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of work, as under `asyncio.timeout`; but set a timer only once the work waits for something.

    Setting and cancelling a timer is a third of the engine's time for a message with nothing to do: 5.7 us with
    `asyncio.timeout`, 1.1 us here (`python -m bench time_limit`).

    Raises:
        TimeoutError: the work took longer.
    """
    until = asyncio.get_running_loop().time() + seconds
    try:
        awaited = work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    async with asyncio.timeout_at(until):
        return await _Rest(work, awaited)


@final
class _Rest(Generic[T]):
    """The rest of a coroutine that has begun and now waits for something."""

    def __init__(self, work: Coroutine[Any, Any, T], awaited: object) -> None:
        self._work = work
        self._awaited = awaited

    def __await__(self) -> Generator[object, Any, T]:
        awaited, work = self._awaited, self._work
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as error:  # noqa: BLE001 - it is the work's, a cancellation too
                    awaited = work.throw(error)
                else:
                    awaited = work.send(sent)
        except StopIteration as end:
            return cast("T", end.value)
