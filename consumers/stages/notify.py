"""Notify: finish a run with a verdict, however long the backend is down. It has no task deadline."""

from __future__ import annotations

import asyncio
from typing import Final

from consumers.engine.limits import LIMITS
from consumers.engine.outcomes import Leave, Outcome, Snooze, dead_lettered
from consumers.stages.schedule import notify_delay
from messages.bodies import Notify, Reason, Stage
from messages.codec import Header
from messages.errors import Outage, Permanent, ScfWorkersError
from messages.keys import RunId
from tasks.context import Services
from tasks.ending.finish import DELIVER_FOR_S, finish
from tasks.ledger.records import Verdict
from telemetry import logs
from telemetry.events import Event

__all__ = ["GIVE_UP_S", "notify"]

GIVE_UP_S: Final = DELIVER_FOR_S
"""Seconds after which an undelivered verdict becomes a dead letter: a record and an alarm."""

_LIMIT_S: Final = LIMITS[Stage.NOTIFY] - 2.0
"""Seconds for one try: a little less than the stage's limit."""

log = logs.get(__name__)


async def notify(header: Header, body: Notify, services: Services) -> Outcome:
    """Finish once; a failure is retried with growing delays and costs no attempt."""
    elapsed = services.ledger.now() - body.since / 1000
    event = Event.CLEANUP_LATE
    try:
        late = await _finish_in_time(header.run_id, services, again=body.again)
    except ScfWorkersError as error:
        event, late = Event.CALLBACK_FAILED, error
    if late is None:
        return Leave()
    if isinstance(late, Permanent) or (elapsed > GIVE_UP_S and await _age(header.run_id, services) > GIVE_UP_S):
        return dead_lettered(Reason.ATTEMPTS, late)
    log.warning(event, error=late)
    return Snooze(max(notify_delay(elapsed), late.retry_after or 0.0), why=type(late).__name__)


async def _age(run: RunId, services: Services) -> float:
    """Return the seconds since the verdict was stored: the age in a message is only a hint."""
    stored = await services.ledger.read(run, Verdict.at())
    return services.ledger.now() - stored.at if stored else 0.0


async def _finish_in_time(run: RunId, services: Services, *, again: bool) -> ScfWorkersError | None:
    """Call `finish`; slowness counts as an outage before the stage's own limit would spend an attempt."""
    try:
        async with asyncio.timeout(_LIMIT_S):
            return await finish(run, services, again=again, resumed=True)
    except TimeoutError as error:
        raise Outage(f"a verdict could not be brought to its end in {_LIMIT_S:g} s") from error
