"""Wakes: "look at this run now". Sweep, webhook, cancel and replay publish them; only the wake stage acts."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from messages.bodies import Job, Stage, Wake
from messages.codec import Message, encode, new_header
from messages.keys import RunId
from messages.signing import MessageKeys
from messages.topics import topic_of
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import ReopenDenied, Reopened
from telemetry import logs
from telemetry.events import Event
from telemetry.tracing import current, new_traceparent, under
from transport.port import Broker

__all__ = [
    "API",
    "INDEX",
    "LATEST",
    "LETTER",
    "REDELIVER",
    "SWEEP",
    "SWEEP_PERIOD_S",
    "WEBHOOK",
    "Why",
    "current_run",
    "publish_wake",
]

Why = Literal["sweep", "redeliver", "webhook", "cancel", "index", "letter", "replay", "api"]
"""Reasons of a wake."""

SWEEP: Final = "sweep"
"""A run that may have come to a stop. Such a wake is acked before its effects and goes stale: the sweep comes again."""

SWEEP_PERIOD_S: Final = 180.0
"""Seconds between two sweeps; the timer's cron is `0 */3 * * * * *`."""

REDELIVER: Final = "redeliver"
"""A delivered run that the backend still lists: deliver the same verdict once more."""

INDEX: Final = "index"
"""An accepted run that could not be entered in the lists: enter it, and look no further."""

LETTER: Final = "letter"
"""A run that a dead letter could not end, because a paid call of it is alive."""

WEBHOOK: Final = "webhook"
"""A run of which a vendor says that a job has ended."""

API: Final = "api"
"""A task that the API has sold and could not take in at once."""

LATEST: Final = -1
"""Instead of a run's number: the one that counts, found when the wake is read."""

log = logs.get(__name__)


async def publish_wake(
    run: RunId, why: Why, broker: Broker, now: float, *, keys: MessageKeys, job: Job | None = None, since: float = 0.0
) -> None:
    """Publish a wake for a run; twice is harmless.

    Args:
        run: which; its number may be `LATEST`.
        why: the reason.
        broker: where to.
        now: seconds since the epoch, by the store's clock where the waker knows it.
        keys: what it is signed with.
        job: a webhook's hint.
        since: when the backend created the task, seconds since the epoch; 0 if unknown.

    Raises:
        transport.errors.BrokerDown: no receipt came.
    """
    header = new_header(run, Stage.WAKE, now, current() or new_traceparent())
    body = Wake(why, job, int(since * 1000))
    await broker.publish(topic_of(Stage.WAKE), encode(Message(header, body), keys))
    with under(header.traceparent):
        log.info(Event.WAKE_PUBLISHED, why=why, user_id=run.user, task_id=run.task, step=run.step, run=run.run)


async def current_run(run: RunId, ledger: Ledger) -> RunId:
    """Return the run that counts: a numbered one; for `LATEST` the highest accepted and not denied, else run 0."""
    if run.run != LATEST:
        return run
    latest = await ledger.latest_run(run.user, run.task, run.step) or msgspec.structs.replace(run, run=0)
    while latest.run > 0 and await _is_denied(latest, ledger):
        latest = msgspec.structs.replace(latest, run=latest.run - 1)
    return latest


async def _is_denied(run: RunId, ledger: Ledger) -> bool:
    return await ledger.read(run, ReopenDenied.at()) is not None and await ledger.read(run, Reopened.at()) is None
