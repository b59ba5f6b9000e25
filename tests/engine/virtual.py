"""A loop on virtual time: when nothing is left to do now, its clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

EPOCH: Final = 1_750_000_000.0
"""Wall time at which every loop begins, seconds."""


class Stuck(RuntimeError):
    """All tasks wait, and no timer is set."""


class _Leaping(selectors.BaseSelector):
    """Reads the loop's own pipe, but never waits for it: a wait moves the clock instead."""

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self.elapsed = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        if timeout > 0:
            self.elapsed += timeout
        return self._inner.select(0) if timeout > 0 else []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s and never sleeps. Threads are not allowed: virtual time does not wait for them."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.elapsed


class Inline(Executor):
    """Runs calls at once, in the caller's thread: a virtual loop would not wait for another thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def wall() -> float:
    """Wall time by the running loop, seconds since the epoch."""
    return EPOCH + asyncio.get_running_loop().time()


def virtually(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(body())
