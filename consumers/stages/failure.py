"""Failure: what becomes of dead letters. The only one that turns them into a record, a verdict and a callback."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Final

import msgspec

from consumers.engine.outcomes import Finish, Leave, Outcome, Reject
from messages.bodies import Dead, Reason, Stage
from messages.codec import NO_ID, Header
from messages.codes import code_of
from messages.errors import RetryClass, ScfWorkersError
from messages.keys import RunId, dead_key
from tasks.calls.decide import BEFORE_JOB, may_fail
from tasks.context import Services
from tasks.ledger.records import DeadLetter
from telemetry import logs
from telemetry.events import Event

__all__ = ["failure", "identity_of", "is_before_job", "must_only_record"]

_WHOLE_RUN: Final = (Reason.VENDOR, Reason.UNKNOWN)
"""Reasons that speak of the run, whatever message they were found with."""

_TURNS: Final = 4
"""Copies of a letter before it gets a minimal record: about a minute."""

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{12}")
_NAME: Final = 128
_NAME_HEAD: Final = 64
_LINE: Final = 200

log = logs.get(__name__)


def must_only_record(dead: Dead) -> bool:
    """Whether a dead letter is only recorded: it says nothing about its run that a verdict could rest on."""
    if dead.reason is Reason.UNREADABLE or dead.stage == Stage.NOTIFY:
        return True
    # A poll or a wake that fails by itself leaves the job as it is; the sweep looks again.
    return dead.stage in {Stage.POLL, Stage.WAKE} and dead.reason not in _WHOLE_RUN


def is_before_job(dead: Dead) -> bool:
    """Whether any job that is known outdates the dead letter."""
    return dead.stage in BEFORE_JOB or dead.reason is Reason.UNKNOWN


async def failure(header: Header, dead: Dead, services: Services) -> Outcome:
    """Record the letter; then verdict `failed`, unless a verdict is there or a job is alive.

    A letter that cannot be handled after a few turns, though nothing outside is away, is recorded as far as it can be.
    """
    outcome: Outcome = Leave()
    try:
        outcome = await _outcome(dead, header.run_id, services)
    except Exception as error:  # noqa: BLE001 - a letter must not come again for ever, whatever its fault
        _insist(error, header)
        dead = _minimal(dead)
    try:
        await _record(header, dead, outcome, services)
    except Exception as error:  # noqa: BLE001 - a letter must not come again for ever, whatever its fault
        _insist(error, header)
        await _record(header, _minimal(dead), outcome, services)
    return outcome


def _insist(error: Exception, header: Header) -> None:
    """Raise an error that another turn may mend: an outage, or the first few of any other."""
    if header.seq < _TURNS or (isinstance(error, ScfWorkersError) and error.retry is RetryClass.OUTAGE):
        raise error
    log.error(Event.DEAD_LETTER_HANDLING_FAILED, error=error)


async def _outcome(dead: Dead, run: RunId, services: Services) -> Outcome:
    if must_only_record(dead):
        return Leave()
    if await services.ledger.verdict(run):
        return Finish()
    if may_fail(await services.ledger.calls(run), dead.n, before_job=is_before_job(dead)):
        return Reject(code_of(dead.code), dead.n, before_job=is_before_job(dead))
    return Leave()


def _minimal(dead: Dead) -> Dead:
    """What is left of a letter that cannot be recorded as it is: nothing in it is longer than a line."""
    return msgspec.structs.replace(
        dead,
        topic=dead.topic[:_LINE],
        message_id=dead.message_id[:_LINE],
        stage=dead.stage[:_LINE],
        code=dead.code[:_LINE],
        error=dead.error[:_LINE],
        fingerprint=_digest(dead.fingerprint),
        original="",
        encoding="cut",
        detail=dead.detail[:_LINE],
        place=dead.place[:_LINE],
    )


def identity_of(dead: Dead) -> tuple[str, str]:
    """Fingerprint and name of a letter's record: hashed where they are not what we write, for they stand in a key."""
    fingerprint = dead.fingerprint if _FINGERPRINT.fullmatch(dead.fingerprint) else _digest(dead.fingerprint)
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in dead.message_id)
    # Two ids that differ in other characters are two letters.
    return fingerprint, name if name == dead.message_id and len(name) <= _NAME else _named(name, dead.message_id)


def _named(name: str, message_id: str) -> str:
    return f"{name[:_NAME_HEAD]}-{_digest(message_id)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


async def _record(header: Header, dead: Dead, outcome: Outcome, services: Services) -> None:
    now = services.ledger.now()
    # From the letter's own birth and the original's id, so that a letter handled twice is one record.
    day = time.strftime("%Y-%m-%d", time.gmtime(min(header.created / 1000, now)))
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
        detail=dead.detail,
        place=dead.place,
    )
    await services.ledger.record_dead_letter(dead_key(day, *identity_of(dead)), letter)
    alarm = header.task == NO_ID or isinstance(outcome, Leave)
    (log.error if alarm else log.warning)(
        Event.DEAD_LETTER_RECORDED, reason=dead.reason, code=dead.code, topic=dead.topic
    )
