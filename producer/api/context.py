"""Objects of one process of the API, and the call that a handler answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request

from producer.api.health import HealthCheck
from producer.api.http.limits import RateLimit, StreamLimit
from producer.api.http.tokens import Caller
from producer.api.watch import Watch
from tasks.context import ApiServices
from telemetry.secrets import Secret

__all__ = ["Api", "ApiOptions", "Background", "Call"]


class ApiOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the API."""

    jwt_secret: Secret
    """Verifies bearer tokens."""
    callback_secret: Secret
    """Verifies the backend's own calls."""
    expected_s: float = 0.0
    """Usual seconds of a vendor's work; 0 takes the recipe's figure."""
    per_minute: int = 120
    """Requests of one user a minute that buy something, and a tenth of the other ones; 0 for no limit."""
    streams_of_user: int = 20
    streams: int = 2000
    """Open streams of the process."""
    streaming: bool = True
    """False behind a Function URL, which can pass on only whole answers."""
    respond_within_s: float | None = 0.0
    """Seconds that an answer waits for the acceptance of a sold task, which continues after it; None waits to the end,
    for a function whose process is frozen between calls."""
    accepts_at_once: int = 8
    """Acceptances at the same time; the others wait."""
    accepts_within_s: float = 10.0
    """Longest time for which acceptances wait while more purchases than `accepts_at_once` are being answered: a burst
    of requests is answered before it is accepted."""
    addresses: Mapping[str, str] = {}
    """Part -> URL, for the health check; see `producer.api.health`."""


class Background:
    """Work that continues after its answer was sent. While many requests wait for their answers, it waits too.

    Args:
        at_once: pieces of work at the same time; the others wait.
        holds_s: longest time for which a piece of work lets requests pass.
    """

    def __init__(self, at_once: int, holds_s: float) -> None:
        self._at_once = at_once
        self._holds_s = holds_s
        self._room = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._requests = 0
        self._calm = asyncio.Event()
        self._calm.set()

    @contextmanager
    def request(self) -> Generator[None]:
        """Count a request while it is answered."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    async def run(self, work: Coroutine[Any, Any, None], wait_s: float | None) -> None:
        """Start work, and wait for it for some seconds; None waits to its end. An error of it is never raised."""
        task = asyncio.create_task(self._in_room(work, 0.0 if wait_s is None else self._holds_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task], timeout=wait_s)

    async def _in_room(self, work: Coroutine[Any, Any, None], holds_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(holds_s):
                await self._calm.wait()
        async with self._room:
            await work

    def _count(self, more: int) -> None:
        self._requests += more
        if self._requests > self._at_once:
            self._calm.clear()
        else:
            self._calm.set()

    async def finish(self, limit_s: float) -> None:
        """Wait until the work is done, at most some seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit_s)


@dataclass(frozen=True, kw_only=True)
class Api:
    """Everything that handlers use."""

    services: ApiServices
    options: ApiOptions
    clock: Callable[[], float]
    """This machine's clock, seconds since the epoch."""
    purchases: RateLimit
    requests: RateLimit
    """Requests that buy nothing."""
    streams: StreamLimit
    watch: Watch
    health: HealthCheck
    background: Background


_NOBODY: Final = Caller("")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request, read and checked as far as its operation says."""

    api: Api
    request: Request
    caller: Caller = _NOBODY
    """The user, for operations that need one."""
    body: bytes = b""

    @property
    def path(self) -> Mapping[str, str]:
        """Parameters of the path."""
        return self.request.path_params

    @property
    def query(self) -> Mapping[str, str]:
        """Parameters of the query."""
        return self.request.query_params

    def header(self, name: str) -> str:
        """Return a header; empty without it."""
        found: str = self.request.headers.get(name, "")
        return found
