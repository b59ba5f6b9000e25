"""Reachability of what the API needs. The answer is kept for some seconds, because the question needs no token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from messages.bodies import Stage
from messages.errors import ScfWorkersError
from messages.topics import WORKERS, topic_of
from producer.api.wire import Health, PartHealth
from services.concurrency import Together
from services.reach import Address, diagnose
from tasks.context import ApiServices
from telemetry import logs
from telemetry.events import Event

__all__ = ["HealthCheck"]

_NEEDED: Final = frozenset({"broker", "cos", "ledger", "backend"})
"""Parts without which the API cannot sell."""

_KEPT_S: Final = 10.0
_LIMIT_S: Final = 5.0
_OLD_S: Final = 10**6
"""Age of the unfinished tasks that the backend is asked for: none is so old."""

log = logs.get(__name__)

_Check = Callable[[], Awaitable[object]]


class HealthCheck:
    """Checks every part at once, at most once in ten seconds.

    Args:
        services: the bundle of services.
        addresses: part -> its URL, of parts that can only be connected to: vendors, and a broker whose backlog this
            process may not read.
    """

    def __init__(self, services: ApiServices, addresses: Mapping[str, str]) -> None:
        self._services = services
        self._addresses = addresses
        self._lock = asyncio.Lock()
        self._kept: tuple[float, Health] | None = None

    async def check(self) -> Health:
        """Return the health; never older than ten seconds."""
        async with self._lock:
            now = time.monotonic()
            if self._kept is None or now - self._kept[0] > _KEPT_S:
                self._kept = (now, await self._check())
            return self._kept[1]

    async def warm_up(self) -> None:
        """Use every part that selling needs, so that no request pays for imports and first connections."""
        await _all({name: check for name, check in self._checks().items() if name in _NEEDED})

    def _checks(self) -> dict[str, _Check]:
        services = self._services
        checks: dict[str, _Check] = {
            "broker": lambda: services.broker.backlog(topic_of(Stage.WAKE), WORKERS),
            "cos": lambda: services.objects.list("source/", limit=1),
            "ledger": lambda: services.ledger.objects.list("ledger/", limit=1),
            "backend": lambda: services.backend.unfinished(_OLD_S),
        }
        return checks | {name: partial(_reach, url, name) for name, url in self._addresses.items()}

    async def _check(self) -> Health:
        parts = await _all(self._checks())
        # Without a vendor the API goes on selling: its tasks wait.
        ok = all(part.ok for name, part in parts.items() if name in _NEEDED)
        return Health(status="ok" if ok else "degraded", parts=parts)


async def _all(checks: Mapping[str, _Check]) -> dict[str, PartHealth]:
    async with Together() as group:
        jobs = {name: group.create_task(_timed(name, check)) for name, check in checks.items()}
    return {name: job.result() for name, job in jobs.items()}


async def _reach(url: str, name: str) -> None:
    fault = await diagnose(Address(url, name, follows=True))
    if fault is not None:
        raise ScfWorkersError(fault.detail)


async def _timed(name: str, check: _Check) -> PartHealth:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(_LIMIT_S):
            await check()
    except (ScfWorkersError, TimeoutError) as error:
        # Only the log gets the reason: it may name hosts.
        log.warning(Event.API_PART_AWAY, error=error, part=name)
        return PartHealth(ok=False, milliseconds=_since(begun))
    return PartHealth(ok=True, milliseconds=_since(begun))


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
