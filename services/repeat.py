"""The rule for requests that may be repeated: one that failed at once is made again before it costs a whole message.

It holds for reads (GET, HEAD and LIST of the store, a vendor's queries, questions to the backend) and for the few
writes that do the same when they are made twice. Clients repeat no write by themselves: only the caller knows whether
that is harmless. A paid create is never repeated.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from messages.errors import Outage
from services.errors import BackendDown, Denied, ObjectsDown, VendorDown, VendorMissing
from telemetry import metrics
from telemetry.instruments import Metric

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["LONGEST_WAIT_S", "TRIES", "is_passing", "opened", "pause_s", "repeated"]

T = TypeVar("T")

TRIES: Final = 3
"""Times that a request is made at most."""

LONGEST_WAIT_S: Final = 2.0
"""Longest wait between two tries; an answer that asks for more ends them."""

_PAUSES_S: Final = (0.3, 1.0)
"""Middle of the pauses before the second and the third try."""

_QUICK_S: Final = 2.0
"""A failure that took longer is not repeated: the service hangs, and the time of a stage is short."""


def is_passing(error: BaseException, took: float) -> bool:
    """Return True if a quick repeat may help after an error. Pure.

    It does not help where the service refuses this machine, asks for a longer wait, or was slow.

    Args:
        error: of the try.
        took: seconds of the try.
    """
    if not isinstance(error, ObjectsDown | VendorDown | BackendDown) or isinstance(error, Denied | VendorMissing):
        return False
    if isinstance(error, BackendDown) and error.refused:
        return False
    return took <= _QUICK_S and (error.retry_after or 0.0) <= LONGEST_WAIT_S


def pause_s(failures: int, error: BaseException | None, rng: random.Random) -> float:
    """Return the seconds before the next try, with jitter, and at least those that the answer asks for.

    Args:
        failures: tries so far, from 1.
        error: of the last one.
        rng: the source of the jitter.
    """
    asked = (error.retry_after or 0.0) if isinstance(error, Outage) else 0.0
    middle = _PAUSES_S[min(failures, len(_PAUSES_S)) - 1]
    return max(asked, middle * rng.uniform(0.5, 1.5))


async def repeated(request: Callable[[], Awaitable[T]], rng: random.Random) -> T:
    """Return the answer of a request, which is made up to three times.

    The last error is raised as it is; see `is_passing` for those that end the tries early.

    Args:
        request: makes the request. It may be made again.
        rng: the source of the jitter.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def timed() -> T:
        nonlocal began
        began = loop.time()
        return await request()

    def may_repeat(error: BaseException) -> bool:
        return is_passing(error, loop.time() - began)

    try:
        return await timed()
    except Outage as error:
        if not may_repeat(error):
            raise
        first = error
    # Only after a failure: a call through the library costs more than the engine's own work on a whole message.
    from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return pause_s(state.attempt_number + 1, error, rng)

    tries = AsyncRetrying(
        stop=stop_after_attempt(TRIES - 1),
        wait=pause,
        retry=retry_if_exception(may_repeat),
        before=lambda _: metrics.count(Metric.REPEATED, service=_service(first)),
        reraise=True,
    )
    await asyncio.sleep(pause_s(1, first, rng))
    return await tries(timed)


@asynccontextmanager
async def opened(make: Callable[[], AbstractAsyncContextManager[T]], rng: random.Random) -> AsyncGenerator[T]:
    """Open a download, which is tried up to three times; its use is not repeated. See `repeated`."""
    async with AsyncExitStack() as stack:
        yield await repeated(lambda: stack.enter_async_context(make()), rng)


def _service(error: Outage) -> str:
    if isinstance(error, ObjectsDown):
        return "store"
    return "vendor" if isinstance(error, VendorDown) else "backend"
