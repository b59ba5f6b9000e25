"""Failure: the consumer of dead letters, which turns them into a record, a verdict and a callback."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Final

import msgspec

from consumers.engine.fan_in import after_slot
from consumers.engine.outcomes import Fail, Finish, Leave, Next, Outcome
from messages.bodies import BODIES, NO_RECORD, Dead, Reason, Stage, Wake, slot_of
from messages.codec import MAX_COUNT, NO_ID, Header, Message, try_decode
from messages.codes import code_of
from messages.errors import RetryClass, ScfWorkersError
from messages.keys import RunId, dead_key
from services.vendors.usage import total
from tasks.calls.decide import BEFORE_CALLS, has_paid, may_fail
from tasks.context import Services
from tasks.ledger.names import RecordName
from tasks.ledger.records import Accepted, DeadLetter, SlotEnd, Stopped
from tasks.slots import end_slot, read_decision
from tasks.wakes import LETTER
from telemetry import logs
from telemetry.events import Event

__all__ = ["failure", "identity_of", "must_only_record", "record_of"]

_OF_CALL: Final = (Reason.VENDOR, Reason.UNKNOWN)
"""Reasons about a paid call, whichever message has found them."""

_ABOUT_SLOTS: Final = (Stage.GENERATE, Stage.POLL, Stage.WAKE)
"""Stages whose letters are about one slot."""

_WOKEN: Final = Next(Stage.WAKE, Wake(LETTER), delay=5.0)
"""The run goes on elsewhere: look at it once, in case that it does not.

Later by more than clocks of two processes may differ, see `Ledger.learn`: where one holds a call for unknown that the
other still waits for, letters and wakes would follow one another without a pause.
"""

_TURNS: Final = 4
"""Copies of a letter before it gets a minimal record: about a minute."""

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{12}")
_NAME: Final = 128
_NAME_HEAD: Final = 64
_LINE: Final = 200

log = logs.get(__name__)


def must_only_record(stage: str, reason: str) -> bool:
    """Return True if a given-up message is only recorded, because no verdict can rest on it."""
    if reason == Reason.UNREADABLE or stage == Stage.NOTIFY:
        return True
    # A poll or a wake that fails by itself leaves the job as it is; the sweep looks again.
    return stage in {Stage.POLL, Stage.WAKE} and reason not in _OF_CALL


async def failure(header: Header, dead: Dead, services: Services) -> Outcome:
    """Record the letter, and end its slot or its run, unless a paid call has outdated it.

    An unreadable message, and a notify, poll or wake that fails by itself, is only recorded (see `must_only_record`).

    A letter is only a pointer: its contents are shown to people and decide nothing. The engine's own record
    `stopped-…`, written before the letter was published, decides.

    A letter that cannot be handled after a few tries, though no service is down, is recorded as far as possible.
    """
    outcome: Outcome = Leave()
    try:
        outcome = await _outcome(header.run_id, dead, services)
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
    """Raise an error if another try may succeed: an outage, or the first few errors of any other sort."""
    if header.seq < _TURNS or (isinstance(error, ScfWorkersError) and error.retry is RetryClass.OUTAGE):
        raise error
    log.error(Event.DEAD_LETTER_HANDLING_FAILED, error=error)


async def _outcome(run: RunId, dead: Dead, services: Services) -> Outcome:
    name = record_of(dead)
    found = await services.ledger.read(run, name) if name else None
    if found is None:
        return Leave()
    stage, stopped = dead.stage, found.record
    if must_only_record(stage, stopped.reason):
        return Leave()
    if await services.ledger.verdict(run):
        return Finish()
    accepted = await services.ledger.accepted(run)
    if accepted is None:
        return Leave()
    if stage in BEFORE_CALLS:
        paid = has_paid(await services.ledger.every_call(run, accepted.slots))
        return _WOKEN if paid else Fail(code_of(stopped.code))
    if stage in _ABOUT_SLOTS:
        return await _end_slot(run, stopped.slot or max(1, dead.slot), stopped, accepted, services)
    # Letters of collect and audit, after which no slot counts any more.
    return Fail(code_of(stopped.code))


async def _end_slot(run: RunId, slot: int, stopped: Stopped, accepted: Accepted, services: Services) -> Outcome:
    """End the slot at fault, unless it has ended, or a paid call has outdated the letter."""
    ledger = services.ledger
    if slot > accepted.slots:
        return Leave()
    if await ledger.read(run, SlotEnd.at(slot)) is not None:
        # An earlier try with this letter may have written it, and died.
        return after_slot(await read_decision(run, accepted, ledger), ledger.now())
    calls = await ledger.calls(run, slot)
    if not may_fail(calls, ledger.now(), of_call=stopped.reason in _OF_CALL):
        return _WOKEN
    usage = total(call.end.usage for call in calls if call.end is not None)
    end = SlotEnd(good=False, n=stopped.n, code=code_of(stopped.code), usage=usage)
    return after_slot(await end_slot(run, slot, end, accepted, ledger), ledger.now())


def record_of(dead: Dead) -> RecordName[Stopped] | None:
    """Return the name of the record that a letter points to; None if it points to none."""
    if dead.reason is Reason.UNREADABLE or dead.stage not in BODIES:
        return None
    if dead.seq != NO_RECORD:
        ours = 0 <= dead.seq <= MAX_COUNT and 0 <= dead.slot <= MAX_COUNT
        return Stopped.at(dead.stage, dead.seq, dead.slot or None) if ours else None
    # A letter of an older build: its record has the number of its original.
    original = try_decode(dead.original.encode("utf-8", "surrogatepass")) if dead.encoding == "text" else None
    if not isinstance(original, Message) or original.header.stage != dead.stage:
        return None
    return Stopped.at(dead.stage, original.header.seq, slot_of(original.body))


def _minimal(dead: Dead) -> Dead:
    """Return the minimal record of a letter that cannot be recorded whole: no field is longer than a line."""
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
    """Return fingerprint and name of a letter's record, hashed if malformed, because they are part of a key."""
    fingerprint = dead.fingerprint if _FINGERPRINT.fullmatch(dead.fingerprint) else _digest(dead.fingerprint)
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in dead.message_id)
    if dead.stage == Stage.WAKE and dead.seq > 0:
        # One wake may give up several slots for one cause.
        name = f"{name}-{dead.seq}"
        return fingerprint, name if len(name) <= _NAME else _named(name, f"{dead.message_id}-{dead.seq}")
    # Two ids that differ in other characters are two letters.
    return fingerprint, name if name == dead.message_id and len(name) <= _NAME else _named(name, dead.message_id)


def _named(name: str, message_id: str) -> str:
    return f"{name[:_NAME_HEAD]}-{_digest(message_id)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


async def _call_name(run: RunId, dead: Dead, services: Services) -> str:
    """Return the name of a letter about the bad end of a paid call; empty for any other.

    A poll and a wake may both see that end: their letters are one record.
    """
    name = record_of(dead)
    found = await services.ledger.read(run, name) if name else None
    if found is None or found.record.reason not in _OF_CALL or not found.record.n:
        return ""
    stopped = found.record
    return f"{_digest(run.stem)}-call-{stopped.slot or max(1, dead.slot)}-{stopped.n}"


async def _record(header: Header, dead: Dead, outcome: Outcome, services: Services) -> None:
    now = services.ledger.now()
    # Made from the letter's own creation time and the original's id, so that a letter handled twice is one record.
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
        verdict=outcome.stage if isinstance(outcome, Next) else type(outcome).__name__.lower(),
        detail=dead.detail,
        place=dead.place,
    )
    fingerprint, name = identity_of(dead)
    name = await _call_name(header.run_id, dead, services) or name
    await services.ledger.record_dead_letter(dead_key(day, fingerprint, name), letter)
    alarm = header.task == NO_ID or isinstance(outcome, Leave | Next)
    (log.error if alarm else log.warning)(
        Event.DEAD_LETTER_RECORDED, reason=dead.reason, code=dead.code, topic=dead.topic
    )
