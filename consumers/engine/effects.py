"""Effects of a stage's outcome, carried out before the ack: publishing, verdicts, dead letters."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from typing import Final

import msgspec

from consumers.engine.fan_in import after_slot
from consumers.engine.follow_up import COPY_FLOOR, follow
from consumers.engine.limits import is_marked, runs_isolated
from consumers.engine.outcomes import (
    Again,
    Crashed,
    DeadLettered,
    Done,
    Fail,
    Finish,
    For,
    Leave,
    Many,
    Next,
    Outcome,
    Reject,
    Retry,
    Snooze,
)
from consumers.engine.pauses import Pauses
from consumers.engine.settle import settle
from messages.bodies import NO_RECORD, Body, Dead, Notify, Reason, Stage, slot_of
from messages.codec import NO_ID, Header, Message, encode, new_header
from messages.codes import Code
from messages.errors import Outage, ScfWorkersError, Transient
from messages.keys import RunId
from messages.topics import dead_letter_topic, topic_of
from tasks.calls.decide import BEFORE_CALLS, has_paid, may_fail
from tasks.context import Services
from tasks.ending.finish import finish, left_to_writer
from tasks.ending.verdict import give_verdict
from tasks.ledger.records import SlotEnd, Stopped, Verdict, Waits
from tasks.slots import end_slot
from tasks.topics import topic_for
from tasks.waits import record_wait
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric
from telemetry.points import reached
from telemetry.tracing import under
from transport.port import Delivery

__all__ = ["Effects"]

_PUBLISH_PAUSE: Final = 0.5
"""Seconds between two tries of a failed publish: a begun message is never released."""

_EARLY_REST: Final = 1.0
"""Least delay in seconds of the copy of an early message, so that it cannot loop without a pause."""

_WHOLE: Final = 4_800
"""Bytes of an original that fit into a dead letter, also as base64; only foreign messages are larger."""

log = logs.get(__name__)


class Effects:
    """Effects of outcomes: published messages, verdicts and dead letters.

    Args:
        services: the bundle of services.
        pauses: paused topics and keys.
    """

    def __init__(self, services: Services, pauses: Pauses) -> None:
        self._services = services
        self._pauses = pauses

    async def carry_out(self, outcome: Outcome, message: Message, delivery: Delivery) -> None:
        """Carry out an outcome; when this returns, the original may be acked."""
        match outcome:
            case For(found, inner):
                with under(found.traceparent):
                    await self.carry_out(inner, Message(found, message.body), delivery)
            case Leave():
                log.debug(Event.MESSAGE_DROPPED)
            case Many(outcomes):
                for each in outcomes:
                    await self.carry_out(each, message, delivery)
            case Done(manifest, job, degraded, text):
                await self._conclude(message, Verdict("success", "", manifest, job, degraded, text))
            case Reject(code):
                await self._reject(code, message, delivery)
            case Fail(code):
                await self._conclude(message, Verdict("failed", code))
            case Finish():
                await self._finish(message, found=not delivery.holder_died)
            case DeadLettered():
                await self.dead_letter(outcome, delivery, message)
            case _:
                await self._go_on(outcome, message, delivery)

    async def _go_on(
        self, outcome: Next | Snooze | Retry | Again | Crashed, message: Message, delivery: Delivery
    ) -> None:
        """Publish the message that continues the run."""
        attempt = message.header.attempt
        match outcome:
            case Next(stage, body, delay, seq):
                await self._follow(message, delivery.topic, stage=stage, body=body, seq=seq, delay=delay)
            case Snooze(delay, pause, body, why, keys):
                if pause:
                    for what in keys or (delivery.topic,):
                        self._pauses.pause(what, pause)
                delay = await self._copy(message, delivery, delay=delay, body=body, attempt=attempt)
                await self.record_wait(why, delay, message)
                log.info(Event.MESSAGE_SNOOZED, delay=round(delay, 3))
            case Retry(delay):
                delay = await self._copy(message, delivery, delay=delay, attempt=attempt + 1)
                metrics.count(Metric.ATTEMPTS_SPENT, stage=message.header.stage, why="error")
                log.info(Event.MESSAGE_RETRIED, delay=round(delay, 3))
            case Again(delay):
                # If this machine's clock is behind, the copy's delay may end in the broker's past: it is delivered at
                # once.
                rest = min(delay, _EARLY_REST)
                await asyncio.sleep(rest)
                await self.publish(delivery.topic, self.successor(message), delay - rest)
            case Crashed(not_before):
                delay = max(0.0, not_before - self._now())
                isolated = runs_isolated(message.header.stage, attempt + 1)
                # It spends an attempt, so it may be due at once.
                delay = await self._copy(
                    message, delivery, delay=delay, attempt=attempt + 1, isolated=isolated, floor=0.0
                )
                metrics.count(Metric.ATTEMPTS_SPENT, stage=message.header.stage, why="crash")
                log.warning(Event.MESSAGE_CRASH_DETECTED, delay=round(delay, 3))

    async def _reject(self, code: Code, message: Message, delivery: Delivery) -> None:
        """Fail the run, or the slot that the message belongs to, unless a paid call has outdated the message."""
        run, ledger = message.header.run_id, self._services.ledger
        slot, accepted = slot_of(message.body), await ledger.accepted(run)
        if slot is not None and accepted is not None:
            outdated = not may_fail(await ledger.calls(run, slot), ledger.now(), of_call=False)
        else:
            early = message.header.stage in BEFORE_CALLS and accepted is not None
            outdated = early and has_paid(await ledger.every_call(run, accepted.slots if accepted else 1))
        if outdated:
            log.warning(Event.MESSAGE_DROPPED, code=code, why="a paid call of the run is alive")
        elif slot is not None and accepted is not None:
            decision = await end_slot(run, slot, SlotEnd(good=False, code=code), accepted, ledger)
            await self.carry_out(after_slot(decision, self._now()), message, delivery)
        else:
            await self._conclude(message, Verdict("failed", code))

    async def expire(self, message: Message) -> None:
        """Write the verdict `failed`, because the run is out of time."""
        await self._conclude(message, Verdict("failed", Code.TIMEOUT))

    async def dead_letter(self, given_up: DeadLettered, delivery: Delivery, message: Message | None) -> None:
        """Record why the message was given up, then publish its dead letter."""
        header = message.header if message else new_header(RunId(NO_ID, NO_ID), Stage.DEAD, self._now())
        seq = NO_RECORD if message is None else await self._record_stop(given_up, message)
        stage, fault = (header.stage if message else ""), given_up.fault
        original, encoding = _original(delivery.payload)
        body = Dead(
            reason=given_up.reason,
            topic=delivery.topic,
            message_id=delivery.message_id,
            stage=stage,
            code=fault.code,
            error=fault.error,
            fingerprint=_fingerprint(stage, given_up),
            original=original,
            encoding=encoding,
            n=given_up.n,
            detail=fault.detail,
            place=fault.place,
            seq=seq,
            slot=(slot_of(message.body) or 0) if message else 0,
        )
        letter = follow(header, self._now(), self._services.rng, stage=Stage.DEAD, body=body, attempt=header.attempt)
        await self.publish(dead_letter_topic(delivery.topic), encode(letter, self._services.keys), 0.0)
        metrics.count(Metric.DEAD_LETTERS, stage=stage or "unreadable", reason=given_up.reason.value)
        event = Event.MESSAGE_UNREADABLE if given_up.reason is Reason.UNREADABLE else Event.MESSAGE_DEAD_LETTERED
        log.warning(
            event,
            reason=given_up.reason,
            code=fault.code,
            error_type=fault.error,
            detail=fault.detail,
            place=fault.place,
            fingerprint=body.fingerprint,
        )

    async def _record_stop(self, given_up: DeadLettered, message: Message) -> int:
        """Create `stopped-…`, the record that proves a letter. Returns its number; `NO_RECORD` if not accepted.

        The number is the message's, or the next free one: two messages may have the same (all wakes have 0), and the
        record of one must not prove the letter of the other.
        """
        header, fault, ledger = message.header, given_up.fault, self._services.ledger
        if header.run < 0 or not await ledger.is_accepted(header.run_id):
            return NO_RECORD
        seq, slot = header.seq, slot_of(message.body)
        stopped = Stopped(
            given_up.reason,
            fault.code,
            fault.error,
            fault.place,
            fault.detail,
            header.attempt + 1,
            given_up.n,
            given_up.slot or slot or 0,
        )
        while True:
            stored = await ledger.write(header.run_id, Stopped.at(header.stage, seq, slot), stopped)
            if stored.mine or _decide_alike(stored.record, stopped):
                reached(f"{header.stage}.stopped")
                return seq
            seq += 1

    async def record_wait(self, why: str, delay: float, message: Message) -> None:
        """Record why a message waits; not for a light one: while a vendor is down, each job would cost a listing."""
        header = message.header
        if why and is_marked(header):
            name = Waits.at(header.stage, header.seq, slot_of(message.body))
            await record_wait(header.run_id, name, why, delay, self._services.ledger)

    async def publish(self, topic: str, payload: bytes, delay: float) -> None:
        """Publish, and retry while the broker is down: the caller has begun its message and must not release it."""
        while True:
            try:
                await self._services.broker.publish(topic, payload, delay=delay)
            except Outage as error:
                log.warning(Event.BROKER_AWAY, error=error, topic=topic)
                await asyncio.sleep(_PUBLISH_PAUSE)
            else:
                return

    def successor(self, message: Message) -> bytes:
        """Return a copy of a message that has not begun, with the next seq and nothing else changed.

        If this process freezes before it acks the message, another one may begin it, and its mark would stop a copy
        with the same seq.
        """
        header = msgspec.structs.replace(message.header, seq=message.header.seq + 1)
        return encode(Message(header, message.body), self._services.keys)

    async def _conclude(self, message: Message, verdict: Verdict) -> None:
        header = message.header
        # Otherwise all work so far, such as collected results, would be repeated.
        stored = await settle(lambda: give_verdict(header.run_id, verdict, self._services.ledger, kind=header.kind))
        await self._finish(message, found=not stored.mine)

    async def _finish(self, message: Message, *, found: bool) -> None:
        """Finish the run, or publish a `notify` that does.

        Args:
            message: the message that met the verdict.
            found: whether another message wrote the verdict, and may be finishing the run now.
        """
        run = message.header.run_id
        try:
            if found and (left := await left_to_writer(run, self._services)):
                log.info(Event.CALLBACK_LEFT, delay=round(left, 3))
                await self._notify(message, left)
                return
            late = await finish(run, self._services)
        except (ScfWorkersError, TimeoutError) as error:
            log.warning(Event.CALLBACK_FAILED, error=error)
            await self._notify(message, _retry_after(error))
        else:
            if late is not None:
                log.warning(Event.CLEANUP_LATE, error=late)
                await self._notify(message, _retry_after(late))

    async def _notify(self, message: Message, delay: float) -> None:
        """Continue as `notify`, with a new number: the mark of an earlier one would stop it."""
        since = int(self._now() * 1000)
        seq = await self._services.ledger.next_seq(message.header.run_id, Stage.NOTIFY)
        await self._follow(message, stage=Stage.NOTIFY, body=Notify(since), seq=seq, delay=delay)

    async def _copy(
        self,
        message: Message,
        delivery: Delivery,
        *,
        delay: float,
        attempt: int,
        body: Body | None = None,
        isolated: bool = False,
        floor: float = COPY_FLOOR,
    ) -> float:
        header = message.header
        return await self._follow(
            message,
            delivery.topic,
            stage=Stage(header.stage),
            body=message.body if body is None else body,
            seq=header.seq + 1,
            attempt=attempt,
            delay=max(delay, floor),
            isolated=isolated,
        )

    async def _follow(  # noqa: PLR0913 - all that a message says
        self,
        message: Message,
        source: str = "",
        *,
        stage: Stage,
        body: Body,
        seq: int = 0,
        attempt: int = 0,
        delay: float = 0.0,
        isolated: bool = False,
    ) -> float:
        """Publish a message of the same run. Returns the seconds until it is due."""
        header = message.header
        new = follow(
            header,
            self._now(),
            self._services.rng,
            stage=stage,
            body=body,
            seq=seq,
            attempt=attempt,
            delay=delay,
            isolated=isolated,
        )
        topic = await self._topic(stage, new.header, source, is_copy=header.stage == stage)
        wait = new.header.not_before / 1000
        await self.publish(topic, encode(new, self._services.keys), wait)
        reached(f"{header.stage}.published")
        return wait

    async def _topic(self, stage: Stage, header: Header, source: str, *, is_copy: bool) -> str:
        if stage is Stage.DEAD:
            # The broker names the topic it came from: the contents of a letter may be forged.
            return dead_letter_topic(source)
        if stage is Stage.GENERATE:
            if is_copy:
                return source
            accepted = await self._services.ledger.accepted(header.run_id)
            if accepted is not None and accepted.vendor:
                # A later build may use another vendor for the kind.
                return topic_of(stage, header.priority, vendor=accepted.vendor)
        return topic_for(stage, header, self._services.recipes, default=source)

    def _now(self) -> float:
        return self._services.ledger.now()


def _decide_alike(one: Stopped, other: Stopped) -> bool:
    return (one.reason, one.code, one.n, one.slot) == (other.reason, other.code, other.n, other.slot)


def _fingerprint(stage: str, given_up: DeadLettered) -> str:
    """Return the fingerprint: equal for dead letters of one cause; a defect in two places makes two groups."""
    fault = given_up.fault
    cause = f"{stage}|{given_up.reason}|{fault.code}|{fault.error}|{fault.place}"
    if given_up.reason in {Reason.VENDOR, Reason.UNKNOWN}:
        # The end of a paid call is the same, whichever look has seen it.
        cause = f"{given_up.reason}|{fault.code}|{fault.error}"
    return hashlib.sha256(cause.encode()).hexdigest()[:12]


def _original(payload: bytes) -> tuple[str, str]:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    # JSON escapes a control character six bytes long, so a text counts as it is written.
    if text and len(msgspec.json.encode(text)) <= _WHOLE:
        return text, "text"
    if len(payload) <= _WHOLE:
        return b64encode(payload).decode(), "base64"
    return b64encode(payload[:_WHOLE]).decode(), "cut"


def _retry_after(error: Exception) -> float:
    return (error.retry_after or 1.0) if isinstance(error, Outage | Transient) else 1.0
