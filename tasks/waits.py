"""Records of a run's waits: at the first snooze for a reason, then at each doubling of the wait.

They are for people who look at a run. Nothing depends on them: a failed write is ignored.
"""

from __future__ import annotations

import asyncio
from typing import Final

from messages.errors import ScfWorkersError
from messages.keys import RunId
from tasks.ledger.ledger import Ledger
from tasks.ledger.names import RecordName
from tasks.ledger.records import Waits
from telemetry import logs
from telemetry.events import Event

__all__ = ["RESUMED_S", "next_wait", "record_wait"]

RESUMED_S: Final = 60.0
"""Seconds after a wait may have ended within which the next one for the same reason continues it."""

_LIMIT_S: Final = 2.0
"""Seconds for reading and writing: a note must not delay its message."""

log = logs.get(__name__)


def next_wait(last: Waits | None, why: str, now: float, until: float) -> Waits | None:
    """Return the record of a wait; None if the last one still covers it.

    Args:
        last: the run's newest record of a wait.
        why: the reason.
        now: seconds since the epoch, by the store's clock.
        until: when the message comes again, likewise.
    """
    if last is None or last.why != why:
        return Waits(why, until, now)
    # What went on until now was recorded at its last doubling.
    doubled = last.since + 2 * (last.until - last.since)
    if now > doubled + RESUMED_S:
        return Waits(why, until, now)
    return Waits(why, until, last.since) if until >= doubled else None


async def record_wait(run: RunId, name: RecordName[Waits], why: str, delay: float, ledger: Ledger) -> None:
    """Record why a run waits, if that is new.

    Args:
        run: the run.
        name: of the record, if one is due.
        why: the reason.
        delay: seconds until the message comes again.
        ledger: where it is written.
    """
    try:
        async with asyncio.timeout(_LIMIT_S):
            now = ledger.now()
            wait = next_wait(await ledger.last_wait(run), why, now, now + delay)
            if wait is not None:
                await ledger.write(run, name, wait)
    except (ScfWorkersError, TimeoutError) as error:
        log.debug(Event.WAIT_UNRECORDED, error=error)
