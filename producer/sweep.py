"""The sweep: last guard of every deadline, even if a broker loses messages.

A timer calls `main_handler(event, context)` every three minutes. It reads the pages of the tasks that the backend lists
as unfinished, and publishes a wake for each stalled task (`producer.sweep_rules`). It runs no stage and writes no
record but its own status, so an additional sweep is harmless.

A call is bounded: it stops at its time limit or at the last page, and returns its position. A timer's call gets no data
from the call before, so the position is kept in the process, which usually stays warm for three minutes; a new process
begins with the oldest task, which is the most urgent. A call by hand may set the position.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec

from messages.bodies import Stage
from messages.errors import Outage, ScfWorkersError
from messages.keys import RunId
from producer.sweep_rules import OLDER_THAN_S, Action, choose, oddity_of, run_of
from runtime.scf import instance, parse_request, time_limit_s
from runtime.wiring import open_sweep
from services.concurrency import Together
from services.unfinished import UnfinishedTask
from tasks.context import SweepServices
from tasks.ledger.status import ProcessStatus, write_status
from tasks.topics import topics_of
from tasks.view import current_trail
from tasks.wakes import REDELIVER, SWEEP, Why, publish_wake
from telemetry import logs
from telemetry.events import Event

__all__ = ["MAX_PAGES", "SweepPosition", "SweepRequest", "Swept", "Wake", "main_handler", "resume_sweep", "sweep"]

MAX_PAGES: Final = 200
"""Pages read in one call; the backend decides how long a page is."""

Wake = Callable[[RunId, Why, float], Awaitable[None]]
"""Wakes a run: its number may be `LATEST`; the number is when the backend created its task, 0 if unknown."""

_SERVICE: Final = "producer.sweep"
_AT_ONCE: Final = 16
"""Tasks checked at the same time: each takes one listing and at most one publish."""
_MARGIN_S: Final = 5.0
"""Seconds before the platform's time limit at which a call stops, to finish work in flight and to answer."""

log = logs.get(__name__)


class SweepRequest(msgspec.Struct, frozen=True):
    """Parameters of a call: fields of its event, or of the JSON in the timer's `Message`."""

    older_than: Annotated[float, msgspec.Meta(ge=0)] = OLDER_THAN_S
    """Least age, in seconds, of the tasks and records that are checked."""
    cursor: str = ""
    """Position to continue from; empty begins with the oldest task."""


class Swept(msgspec.Struct, frozen=True):
    """Counts of one call."""

    listed: int = 0
    """Tasks checked."""
    woken: int = 0
    redelivered: int = 0
    fresh: int = 0
    given_up: int = 0
    errors: int = 0
    odd: int = 0
    """Rows that raised an alarm: no verdict is possible for them."""
    pages: int = 0
    cursor: str = ""
    """Position where it stopped; empty after the last page."""


class SweepPosition:
    """Position where the last call of this process stopped."""

    cursor: str = ""


_position: Final = SweepPosition()


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Sweep once within the function's time limit. Returns the counts.

    Raises:
        messages.errors.ScfWorkersError: a parameter of the call is invalid, or the backend's list could not be read;
            the platform calls again.
    """
    limit = time_limit_s(context)
    until = time.monotonic() + limit - min(_MARGIN_S, limit / 4)
    with logs.context(request_id=str(context.get("request_id", ""))):
        swept = instance(_SERVICE, open_sweep).call(lambda services: resume_sweep(event, services, until, _position))
    return dict(msgspec.structs.asdict(swept))


async def resume_sweep(
    event: Mapping[str, Any], services: SweepServices, until: float, position: SweepPosition
) -> Swept:
    """Sweep from the event's position, or else from where the previous call stopped.

    Args:
        event: the timer's event.
        services: the bundle of services.
        until: time to stop at, by the monotonic clock.
        position: position of this process.

    Raises:
        runtime.errors.BadSettings: a parameter of the event is invalid.
        services.errors.BackendDown: the backend's list could not be read.
        services.errors.BadQuestion: the backend rejects `older_than` or the cursor.
    """
    request = parse_request(event, SweepRequest)
    cursor = request.cursor or position.cursor
    # If the list cannot be read from there, the next call begins with its first page.
    position.cursor = ""
    swept = await sweep(services, older_than=request.older_than, cursor=cursor, until=until)
    position.cursor = swept.cursor
    await write_status(_status_of(swept, services.ledger.now()), services.ledger.objects)
    return swept


async def sweep(
    services: SweepServices,
    *,
    older_than: float = OLDER_THAN_S,
    cursor: str = "",
    until: float = float("inf"),
    wake: Wake | None = None,
) -> Swept:
    """Check every unfinished task once, and wake those that are stalled.

    Args:
        services: the bundle of services.
        older_than: least age, in seconds, of the tasks and records that are checked.
        cursor: cursor of the first page.
        until: time after which no new task is checked, by the monotonic clock; an incomplete page is read again.
        wake: takes the place of publishing a wake, for a dry run.

    Raises:
        services.errors.BackendDown: the backend's list could not be read.
        services.errors.BadQuestion: the backend rejects `older_than` or the cursor.
    """
    # The first request to the backend is signed with the store's time too. If the store fails, the rows show the error.
    with suppress(ScfWorkersError):
        await services.ledger.ask_time()
    look = _Look(services, older_than, await _waiting(services), until, wake)
    pages = 0
    while pages < MAX_PAGES and look.in_time():
        page = await services.backend.unfinished(int(older_than), cursor)
        look.others["errors"] += page.unreadable
        if not await look.page(page.rows):
            break
        pages += 1
        cursor = page.cursor or ""
        if not cursor:
            break
    swept = Swept(**{action.value: look.counts[action] for action in Action}, **look.others, pages=pages, cursor=cursor)
    log.info(Event.SWEEP_DONE, **msgspec.structs.asdict(swept))
    return swept


def _status_of(swept: Swept, now: float) -> ProcessStatus:
    """Return the sweep's status: one object for all instances, because only the last sweep counts."""
    counts = {name: count for name, count in msgspec.structs.asdict(swept).items() if isinstance(count, int)}
    return ProcessStatus(process=_SERVICE, at=round(now, 3), sweep=counts)


class _Look:
    """Checks rows and counts the results.

    Args:
        services: the bundle of services.
        older_than: see `sweep`.
        waiting: see `producer.sweep_rules.choose`.
        until: time after which no new task is checked, by the monotonic clock.
        wake: see `sweep`.
    """

    def __init__(
        self,
        services: SweepServices,
        older_than: float,
        waiting: Mapping[Stage, float],
        until: float,
        wake: Wake | None,
    ) -> None:
        self.counts: Counter[Action] = Counter()
        self.others: Counter[str] = Counter(listed=0, errors=0, odd=0)
        self._services = services
        self._now: float | None = None
        self._older_than = older_than
        self._waiting = waiting
        self._until = until
        self._wake = wake or self._publish
        self._room = asyncio.Semaphore(_AT_ONCE)

    def in_time(self) -> bool:
        """Return True while a new task may be checked."""
        return asyncio.get_running_loop().time() < self._until

    async def page(self, rows: tuple[UnfinishedTask, ...]) -> bool:
        """Check the rows; an error in one does not stop the others. Returns False if time ran out before the last."""
        async with Together() as group:
            seen = [group.create_task(self._row(row)) for row in rows]
        return all(one.result() for one in seen)

    async def _row(self, row: UnfinishedTask) -> bool:
        async with self._room:
            # A check in progress is never cut off: nothing may run on when the platform freezes the instance.
            if not self.in_time():
                return False
            self.others["listed"] += 1
            oddity = oddity_of(row, self._services.ledger.now())
            if oddity:
                self._report(row, oddity)
            try:
                self.counts[await self._act(row, since=0.0 if oddity else row.created)] += 1
            except ScfWorkersError as error:
                self.others["errors"] += 1
                log.warning(Event.SWEEP_ROW_FAILED, error=error, task_id=row.task, step=row.step)
            except Exception as error:  # noqa: BLE001 - a defect in one row must not stop the others
                self.others["errors"] += 1
                log.error(Event.SWEEP_ROW_FAILED, error=error, task_id=row.task, step=row.step)
            return True

    def _report(self, row: UnfinishedTask, why: str) -> None:
        """Raise an alarm for a row for which no verdict is possible, so that an operator sees it."""
        self.others["odd"] += 1
        log.error(Event.SWEEP_ROW_ODD, task_id=row.task, user_id=row.user, step=row.step, why=why)

    async def _act(self, row: UnfinishedTask, *, since: float) -> Action:
        services, run = self._services, run_of(row)
        trail = current_trail(await services.ledger.trail(run))
        # One time for all rows; the first listing has brought the store's time.
        self._now = self._now or services.ledger.now()
        action = choose(
            trail,
            self._now,
            recipe=services.recipes.get(row.kind or ""),
            longest_s=max((recipe.deadline_s for recipe in services.recipes.values()), default=0),
            waiting=self._waiting,
            older_than=self._older_than,
        )
        if action is Action.WOKEN:
            await self._wake(run, SWEEP, since)
        elif action is Action.REDELIVERED:
            await self._wake(run, REDELIVER, since)
        elif action is Action.GIVEN_UP:
            self._report(row, "its verdict was acknowledged more than 72 h ago, but the backend still lists it")
        return action

    async def _publish(self, run: RunId, why: Why, since: float) -> None:
        services = self._services
        now = self._now or services.ledger.now()
        await publish_wake(run, why, services.broker, now, keys=services.keys, since=since)


async def _waiting(services: SweepServices) -> Mapping[Stage, float]:
    """Return stage -> age of the oldest due message on its topics; nothing if the broker does not answer."""
    ages: dict[Stage, float] = {}
    try:
        for topic in topics_of(services.recipes):
            if topic.stage not in {Stage.DEAD, Stage.WAKE}:
                age = (await services.broker.backlog(topic.name, topic.subscription)).oldest_age
                ages[topic.stage] = max(age, ages.get(topic.stage, 0.0))
    except Outage as error:
        # Without ages too many wakes are published, which is harmless; too few would not be.
        log.warning(Event.SWEEP_BACKLOG_UNAVAILABLE, error=error)
    return ages
