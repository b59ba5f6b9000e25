"""Failure: what becomes of dead letters. The only one that turns them into a desk record, a verdict and a callback."""

from __future__ import annotations

import time
from typing import Final

from consumers.engine.outcomes import Finish, Leave, Outcome, Reject
from messages.bodies import Dead, Reason, Stage
from messages.codec import NOBODY, Message
from messages.codes import code_of
from messages.keys import dead_key
from tasks.calls.decide import may_fail
from tasks.context import Services
from tasks.ledger.records import DeadLetter
from tasks.run import Task
from telemetry import logs
from telemetry.events import Event

__all__ = ["failure", "is_before_job", "must_only_record"]

_WHOLE_RUN: Final = (Reason.VENDOR, Reason.UNKNOWN)
"""Reasons that speak of the run, whatever message they were found with."""

log = logs.get(__name__)


def must_only_record(dead: Dead) -> bool:
    """Whether a dead letter is only recorded: it says nothing about its run that a verdict could rest on."""
    if dead.reason is Reason.UNREADABLE or dead.stage == Stage.NOTIFY:
        return True
    # A poll or a wake that fails by itself leaves the job as it is; the sweep looks again.
    return dead.stage in {Stage.POLL, Stage.WAKE} and dead.reason not in _WHOLE_RUN


def is_before_job(dead: Dead) -> bool:
    """Whether any job that is known outdates the dead letter."""
    return dead.stage in {Stage.CLEAN, Stage.GENERATE} or dead.reason is Reason.UNKNOWN


async def failure(message: Message, task: Task | None, services: Services) -> Outcome:
    """Record the letter; then verdict `failed`, unless a verdict is there or a job is alive."""
    dead, run = message.body, message.header.run_id
    assert isinstance(dead, Dead)
    outcome: Outcome = Leave()
    if not must_only_record(dead):
        if await services.ledger.verdict(run):
            outcome = Finish()
        elif may_fail(await services.ledger.calls(run), dead.n, before_job=is_before_job(dead)):
            outcome = Reject(code_of(dead.code), dead.n, before_job=is_before_job(dead))
    await _record(message, dead, outcome, services)
    return outcome


async def _record(message: Message, dead: Dead, outcome: Outcome, services: Services) -> None:
    header = message.header
    now = services.ledger.now()
    # From the letter's own birth and the original's id, so that a letter handled twice is one record.
    day = time.strftime("%Y-%m-%d", time.gmtime(header.created / 1000))
    identity = "".join(c if c.isalnum() or c in "-_" else "-" for c in dead.message_id)
    letter = DeadLetter(
        reason=dead.reason,
        topic=dead.topic,
        stage=dead.stage,
        code=dead.code,
        error=dead.error,
        fingerprint=dead.fingerprint,
        original=dead.original,
        encoding=dead.encoding,
        message_id=dead.message_id,
        user=header.user,
        task=header.task,
        step=header.step,
        run=header.run,
        attempt=header.attempt,
        traceparent=header.traceparent,
        at=now,
        n=dead.n,
        verdict=type(outcome).__name__.lower(),
    )
    await services.ledger.bury(dead_key(day, dead.fingerprint, identity), letter)
    alarm = header.task == NOBODY or isinstance(outcome, Leave)
    (log.error if alarm else log.warning)(Event.DESK_RECORDED, reason=dead.reason, code=dead.code, topic=dead.topic)
