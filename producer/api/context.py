"""Objects of one process of the API, and the call that a handler answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
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
    """Requests of one user a minute that buy something; 0 for no limit."""
    streams_of_user: int = 20
    streams: int = 2000
    """Open streams of the process."""
    streaming: bool = True
    """False behind a Function URL, which passes on whole answers only."""
    respond_within_s: float | None = 0.0
    """Seconds that an answer waits for a sold task to be accepted, which goes on behind it; None waits to the end, for
    a function whose process stands still between calls."""
    accepts_at_once: int = 8
    """Acceptances at the same time; the others wait, so that a burst of requests is answered before it is accepted."""
    addresses: Mapping[str, str] = {}
    """Part -> URL, for the health check; see `producer.api.health`."""


class Background:
    """Work that goes on after its answer was sent.

    Args:
        at_once: pieces of work at the same time; the others wait.
    """

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, None], wait_s: float | None) -> None:
        """Start work, and wait for it for some seconds; None waits to its end. An error of it is never raised."""
        task = asyncio.create_task(self._in_room(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task], timeout=wait_s)

    async def _in_room(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._room:
            await work

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
    rate: RateLimit
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
