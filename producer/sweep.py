"""The sweep: the last guard of every deadline, whatever a broker has lost.

A timer calls `main_handler(event, context)` every three minutes. It pages through the tasks that the backend lists as
unfinished, and publishes a wake for each that has come to a stop (`producer.sweep_rules`). It runs no stage and writes
no record but its own status, so a sweep too many is harmless.

One call does a bounded amount: it stops at its time or its last page, and tells where. The platform hands a timer's
call nothing of the call before, so the place is kept in the process, which usually stays warm for three minutes; a new
process begins with the oldest task, which is the most urgent. A call by hand may say where to go on.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec

from messages.bodies import Stage
from messages.errors import Outage, ScfWorkersError
from producer.sweep_rules import OLDER_THAN_S, Action, choose, oddity_of, run_of
from runtime.scf import instance, parse_request, time_limit_s
from services.backend import UnfinishedTask
from services.concurrency import Together
from tasks.context import Services
from tasks.ledger.status import ProcessStatus, write_status
from tasks.topics import topics_of
from tasks.view import current_trail
from tasks.wakes import REDELIVER, SWEEP, publish_wake
from telemetry import logs
from telemetry.events import Event

__all__ = ["MAX_PAGES", "Place", "SweepRequest", "Swept", "main_handler", "sweep", "take_turn"]

MAX_PAGES: Final = 200
"""Pages of one call; the backend decides how long a page is."""

_SERVICE: Final = "producer.sweep"
_AT_ONCE: Final = 16
"""Tasks looked at at the same time: each is one listing and perhaps one publish."""
_MARGIN_S: Final = 5.0
"""Left of the platform's time limit when a call stops, for the answer and for what it has begun."""

log = logs.get(__name__)


class SweepRequest(msgspec.Struct, frozen=True):
    """What a call may ask for: fields of its event, or of the JSON in the timer's `Message`."""

    older_than: Annotated[float, msgspec.Meta(ge=0)] = OLDER_THAN_S
    """Seconds below which neither a task nor a record is looked at."""
    cursor: str = ""
    """Where to go on; empty begins with the oldest task."""


class Swept(msgspec.Struct, frozen=True):
    """What one call did."""

    listed: int = 0
    """Tasks looked at."""
    woken: int = 0
    redelivered: int = 0
    fresh: int = 0
    given_up: int = 0
    errors: int = 0
    odd: int = 0
    """Rows with an alarm: no verdict may come of them."""
    pages: int = 0
    cursor: str = ""
    """Where it stopped; empty when it saw everything."""


class Place:
    """Where the last call of this process stopped."""

    cursor: str = ""


_place: Final = Place()


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Entry of the function: one sweep, within the function's time limit. Returns the counts.

    Raises:
        messages.errors.ScfWorkersError: the call asks for what there is not, or the backend's list could not be read;
            the platform calls again.
    """
    limit = time_limit_s(context)
    until = time.monotonic() + limit - min(_MARGIN_S, limit / 4)
    with logs.context(request_id=str(context.get("request_id", ""))):
        swept = instance(_SERVICE).call(lambda services: take_turn(event, services, until, _place))
    return dict(msgspec.structs.asdict(swept))


async def take_turn(event: Mapping[str, Any], services: Services, until: float, place: Place) -> Swept:
    """One call's sweep: goes on where its event says, else where the call before stopped.

    Args:
        event: the timer's.
        services: the bundle of services.
        until: when to stop, by the monotonic clock.
        place: of this process.

    Raises:
        runtime.errors.BadSettings: the event asks for what there is not.
        services.errors.BackendDown: the backend's list could not be read.
        services.errors.BadQuestion: the backend calls `older_than` or the cursor wrong.
    """
    request = parse_request(event, SweepRequest)
    cursor = request.cursor or place.cursor
    # A list that cannot be read from there is read from its beginning the next time.
    place.cursor = ""
    swept = await sweep(services, older_than=request.older_than, cursor=cursor, until=until)
    place.cursor = swept.cursor
    await write_status(_status_of(swept, services.ledger.now()), services.ledger.objects)
    return swept


async def sweep(
    services: Services, *, older_than: float = OLDER_THAN_S, cursor: str = "", until: float = float("inf")
) -> Swept:
    """Look at every unfinished task once, and wake those that have come to a stop.

    Args:
        services: the bundle of services.
        older_than: seconds below which neither a task nor a record is looked at.
        cursor: of the page to begin with.
        until: when to begin no more, by the monotonic clock; a page that was not done then comes again.

    Raises:
        services.errors.BackendDown: its list could not be read.
        services.errors.BadQuestion: the backend calls `older_than` or the cursor wrong.
    """
    # Even the first question is signed by the store's time. If it does not tell, the rows will show what is wrong.
    with suppress(ScfWorkersError):
        await services.ledger.ask_time()
    look = _Look(services, older_than, await _waiting(services), until)
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
    """What the sweep says about itself: one state for all its instances, because the last sweep is what counts."""
    counts = {name: count for name, count in msgspec.structs.asdict(swept).items() if isinstance(count, int)}
    return ProcessStatus(process=_SERVICE, at=round(now, 3), sweep=counts)


class _Look:
    """Looks at rows and counts.

    Args:
        services: the bundle of services.
        older_than: see `sweep`.
        waiting: see `producer.sweep_rules.choose`.
        until: when to begin no more, by the monotonic clock.
    """

    def __init__(self, services: Services, older_than: float, waiting: Mapping[Stage, float], until: float) -> None:
        self.counts: Counter[Action] = Counter()
        self.others: Counter[str] = Counter(listed=0, errors=0, odd=0)
        self._services = services
        self._now: float | None = None
        self._older_than = older_than
        self._waiting = waiting
        self._until = until
        self._room = asyncio.Semaphore(_AT_ONCE)

    def in_time(self) -> bool:
        """Whether there is time for one more."""
        return asyncio.get_running_loop().time() < self._until

    async def page(self, rows: tuple[UnfinishedTask, ...]) -> bool:
        """Look at the rows; an error in one stops no other. False when time ran out before all of them."""
        async with Together() as group:
            seen = [group.create_task(self._row(row)) for row in rows]
        return all(one.result() for one in seen)

    async def _row(self, row: UnfinishedTask) -> bool:
        async with self._room:
            # What has begun is never cut off: nothing may run on when the platform freezes the instance.
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
            except Exception as error:  # noqa: BLE001 - a defect that one row shows must not leave the others unguarded
                self.others["errors"] += 1
                log.error(Event.SWEEP_ROW_FAILED, error=error, task_id=row.task, step=row.step)
            return True

    def _report(self, row: UnfinishedTask, why: str) -> None:
        """Raise an alarm for a row that no verdict may come of: without one nobody would look."""
        self.others["odd"] += 1
        log.error(Event.SWEEP_ROW_ODD, task_id=row.task, user_id=row.user, step=row.step, why=why)

    async def _act(self, row: UnfinishedTask, *, since: float) -> Action:
        run = run_of(row)
        trail = current_trail(await self._services.ledger.trail(run))
        # One moment for all rows; the first listing has told the store's time.
        self._now = self._now or self._services.ledger.now()
        action = choose(
            trail,
            self._now,
            recipe=self._services.recipes.get(row.kind or ""),
            longest_s=max((recipe.deadline_s for recipe in self._services.recipes.values()), default=0),
            waiting=self._waiting,
            older_than=self._older_than,
        )
        if action is Action.WOKEN:
            await publish_wake(run, SWEEP, self._services, since=since)
        elif action is Action.REDELIVERED:
            await publish_wake(run, REDELIVER, self._services, since=since)
        elif action is Action.GIVEN_UP:
            self._report(row, "its verdict was acknowledged more than 72 h ago, and it is listed all the same")
        return action


async def _waiting(services: Services) -> Mapping[Stage, float]:
    """Stage -> age of the oldest message that is due on its topics; nothing where the broker cannot tell."""
    ages: dict[Stage, float] = {}
    try:
        for topic in topics_of(services.recipes):
            if topic.stage not in {Stage.DEAD, Stage.WAKE}:
                age = (await services.broker.backlog(topic.name, topic.subscription)).oldest_age
                ages[topic.stage] = max(age, ages.get(topic.stage, 0.0))
    except Outage as error:
        # Then a wake too many is published, which is harmless; none would not be.
        log.warning(Event.SWEEP_BACKLOG_UNAVAILABLE, error=error)
    return ages
