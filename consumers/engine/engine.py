"""The engine: one message from delivery to ack.

    decode -> due? -> ids to store? -> facts -> verdict? -> deadline? -> paused? -> mark -> attempts? -> stage
    -> outcome -> effect -> ack

A message is a hint with an address: deadline, kind, priority and attempts are those of the ledger before anything is
decided by them (`facts`).

Light messages (polls between their marked turns, wakes, dead letters) skip verdict and mark: they touch the ledger only
when they have something to write, and a create-only write then shows them what is stored. One that may have killed a
process is marked all the same (see `limits.is_guarded`).
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from consumers.engine.effects import Effects
from consumers.engine.errors import AttemptsSpent, ProcessCrashed, StageTimeout
from consumers.engine.follow_up import COPY_FLOOR, real_delay
from consumers.engine.limits import is_guarded, limit_of, longest_limit_of, may_run_again_at
from consumers.engine.operator_pause import hold
from consumers.engine.outcomes import (
    Again,
    Crashed,
    DeadLettered,
    Finish,
    For,
    Leave,
    Outcome,
    Reject,
    Retry,
    Snooze,
    dead_lettered,
)
from consumers.engine.pauses import Pauses
from consumers.engine.retry import MAX_ATTEMPTS, OUTAGE_DELAY, PUT_BACK_DELAY, backoff, is_young, jittered, outcome_of
from consumers.engine.stage import StageFunction
from consumers.engine.time_limit import within
from messages.bodies import Reason, Stage, Wake, slot_of
from messages.codec import Header, Message, encode, try_decode
from messages.errors import InvalidMessage, NewerMessage, Outage, ScfWorkersError
from messages.keys import RunId
from tasks.calls.hints import save_ids
from tasks.context import Services
from tasks.errors import NotAccepted
from tasks.ledger.names import RecordName
from tasks.ledger.records import Begun
from tasks.run import Task, as_accepted, load_task
from tasks.wakes import SWEEP, SWEEP_PERIOD_S
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric, SpanName
from telemetry.points import reached
from telemetry.tracing import failed, note, span
from transport.port import Consumer, Delivery

__all__ = ["MAX_WAKES", "STALE_SWEEP", "Engine"]

STALE_SWEEP: Final = SWEEP_PERIOD_S
"""Seconds after which a sweep's wake is dropped: the next sweep has published another."""

MAX_WAKES: Final = 40
"""Copies of a wake during outages before it is given up: about ten minutes."""

_DOUBTFUL: Final = 5.0
"""Earliness (s) tolerated before the local clock is suspected: brokers deliver a second early."""

_OF_A_RUN: Final = (Stage.CLEAN, Stage.PROMPT, Stage.GENERATE, Stage.POLL, Stage.COLLECT, Stage.AUDIT)
"""Stages whose messages belong to a run that was accepted."""

log = logs.get(__name__)


class Engine:
    """Engine: works on single messages.

    Args:
        services: the bundle of services.
        stages: function of each stage.
        pauses: paused topics and keys.
    """

    def __init__(self, services: Services, stages: Mapping[Stage, StageFunction], pauses: Pauses) -> None:
        self._services = services
        self._stages = {stage.value: work for stage, work in stages.items()}
        self._effects = Effects(services, pauses)

    def read(self, payload: bytes) -> Message | InvalidMessage:
        """Return the message in a payload, if its signature is right; else why it cannot be used."""
        return try_decode(payload, self._services.keys)

    async def run_one(
        self, delivery: Delivery, consumer: Consumer, message: Message | InvalidMessage | None = None
    ) -> None:
        """Work on one message, carry out its effects, and only then ack it. A sweep's wake alone is acked first.

        Cancelled, it publishes a copy with the same attempt and acks: a begun message is never released.

        Args:
            delivery: the message.
            consumer: the consumer that received it.
            message: its decoded contents, or the decoding error, if the caller has decoded it already.
        """
        message = message or self.read(delivery.payload)
        if isinstance(message, InvalidMessage):
            await self.pass_on(delivery, message)
            await consumer.ack(delivery)
            return
        header = message.header
        fields = _fields(header, delivery)
        with logs.context(fields), span(SpanName.CONSUME, header.traceparent, of=header.stage):
            note(fields, function=f"consumers.{header.stage}")
            if header.stage == Stage.WAKE and _is_sweep(message):
                await consumer.ack(delivery)
                await self._sweep(message, delivery)
                return
            try:
                await self._work(message, delivery)
            except asyncio.CancelledError:
                await self._effects.carry_out(Snooze(1.0), message, delivery)
                await consumer.ack(delivery)
                raise
            await consumer.ack(delivery)
            reached(f"{header.stage}.acked")

    async def throttle(
        self, delivery: Delivery, consumer: Consumer, message: Message, delay: float, why: str = ""
    ) -> bool:
        """Publish a copy of a message that has not begun, with a delay and the same attempt, and ack the message.

        Args:
            delivery: the message.
            consumer: whose delivery it is.
            message: what it says.
            delay: seconds until it is due; jittered, and cut to the run's deadline (see `real_delay`).
            why: reason to record: at the first copy, and whenever their number has doubled, since it costs a listing.

        Returns:
            False, with nothing done, if it must not wait: its run is out of time, or would have no time for an isolated
            copy after the delay, or its mark stands.

        Raises:
            messages.errors.ScfWorkersError: ledger or broker failed; the message may be released.
        """
        header, now = message.header, self._services.ledger.now()
        left = math.inf if header.deadline_at is None else header.deadline_at - now
        needed = longest_limit_of(header.stage, self._services.recipes.get(header.kind))
        if left <= (needed + delay if header.isolated else 0.0) or await self._is_begun(message, delivery):
            return False
        delay = real_delay(jittered(delay, self._services.rng), left)
        with logs.context(_fields(header, delivery)):
            await self._effects.publish(delivery.topic, self._effects.successor(message), delay)
            if header.seq & (header.seq - 1) == 0:
                await self._effects.record_wait(why, delay, message)
            await consumer.ack(delivery)
            log.info(Event.MESSAGE_THROTTLED, delay=round(delay, 3))
        metrics.count(Metric.MESSAGES_THROTTLED, stage=header.stage)
        return True

    async def pass_on(self, delivery: Delivery, message: Message | InvalidMessage, delay: float = 1.0) -> None:
        """Publish a copy with the same attempt, for a message that no broker would deliver again.

        A copy rather than the unchanged message: if an earlier process had begun it, its mark would stop that.
        """
        if isinstance(message, InvalidMessage):
            await self._pass_on_unread(delivery, message)
            return
        with logs.context(_fields(message.header, delivery)):
            await self._effects.carry_out(Snooze(delay), message, delivery)

    async def _pass_on_unread(self, delivery: Delivery, message: InvalidMessage) -> None:
        """Publish a young message of a newer build again, byte for byte; publish a dead letter for any other."""
        if isinstance(message, NewerMessage) and is_young(self._services.ledger.now() - message.created):
            delay = jittered(PUT_BACK_DELAY, self._services.rng)
            await self._effects.publish(delivery.topic, delivery.payload, delay)
            log.warning(Event.MESSAGE_PUT_BACK, error=message, delay=round(delay, 3), topic=delivery.topic)
            return
        await self._effects.dead_letter(dead_lettered(Reason.UNREADABLE, message), delivery, None)

    async def _sweep(self, message: Message, delivery: Delivery) -> None:
        """Run a sweep's wake, acked before its effects because the sweep comes again: errors end here."""
        started = _steady()
        try:
            if await self._is_stale(message.header):
                log.info(Event.MESSAGE_DROPPED, why="stale sweep")
                return
            outcome = await self._outcome(message, delivery)
            if isinstance(outcome, Snooze | Retry):
                outcome = await self._sweep_again(outcome, message, delivery)
            else:
                await self._effects.carry_out(outcome, message, delivery)
        except Exception as error:  # noqa: BLE001 - tried again, now or by the next sweep
            _report(Event.MESSAGE_FAILED, error)
            outcome = await self._sweep_again(Snooze(OUTAGE_DELAY), message, delivery)
        _done(message, outcome, started)

    async def _sweep_again(self, outcome: Snooze | Retry, message: Message, delivery: Delivery) -> Outcome:
        """Publish a failed wake once more, within the time of its sweep.

        The copy keeps the time of its sweep: with a new time, an outage of hours would gather a chain for each sweep.
        """
        header = message.header
        delay = jittered(max(COPY_FLOOR, outcome.delay), self._services.rng)
        age = self._services.ledger.now() + delay - header.created / 1000
        if age > STALE_SWEEP:
            return Leave()
        copy = msgspec.structs.replace(header, seq=header.seq + 1, not_before=int(age * 1000))
        await self._effects.publish(delivery.topic, encode(Message(copy, message.body), self._services.keys), delay)
        log.info(Event.MESSAGE_SNOOZED, delay=round(delay, 3))
        return outcome

    async def _is_stale(self, header: Header) -> bool:
        """Return True if the next sweep has published another, by the store's clock too: the local one may err."""
        oldest = header.created / 1000 + STALE_SWEEP
        return self._services.ledger.now() > oldest and await self._services.ledger.ask_time() > oldest

    async def _work(self, message: Message, delivery: Delivery) -> None:
        started = _steady()
        outcome = await self._outcome(message, delivery)
        try:
            await self._effects.carry_out(outcome, message, delivery)
        except Exception as error:  # noqa: BLE001 - an effect that failed is tried again by a copy, never lost
            _report(Event.MESSAGE_FAILED, error)
            attempt = outcome.header.attempt if isinstance(outcome, For) else message.header.attempt
            outcome = self._after(error, message, attempt=attempt)
            await self._effects.carry_out(outcome, message, delivery)
        _done(message, outcome, started)

    async def _outcome(self, message: Message, delivery: Delivery) -> Outcome:
        header = message.header
        known: Message | None = None
        failure = Event.MESSAGE_FAILED
        try:
            early = header.due_at - self._services.ledger.now()
            if early > _DOUBTFUL:
                early = header.due_at - await self._services.ledger.ask_time()
            # Without a delay it is due on arrival: its publisher's clock is ahead. Begun elsewhere: ours is behind.
            if early > 0 and header.not_before and not await self._is_begun(message, delivery):
                return Again(early)
            waited = max(0.0, -early)
            _received(header, waited)
            guarded = is_guarded(header, waited, holder_died=delivery.holder_died)
            known = await self._known(await self._save_ids(message), guarded=guarded)
            # A sweep's wake needs no mark: it was acked before, so it can kill one process at most.
            task = await self._begin(known, delivery, guarded=guarded and not _is_sweep(message))
            if isinstance(task, Task | None):
                failure = Event.STAGE_FAILED
                work = self._stages[header.stage](known, task, self._services)
                outcome = await within(self._limit_of(header, task), work)
            else:
                outcome = task
        except Exception as error:  # noqa: BLE001 - whatever a stage raises has an outcome; defects are logged whole
            _report(failure, error)
            outcome = self._after(error, known or message, attempt=known.header.attempt if known else 0)
        return outcome if known is None or known.header == header else For(known.header, outcome)

    def _limit_of(self, header: Header, task: Task | None) -> float:
        if task is None:
            # A light message: its kind is known from its header only.
            return longest_limit_of(header.stage, self._services.recipes.get(header.kind))
        return limit_of(header.stage, task.recipe)

    async def _begin(self, message: Message, delivery: Delivery, *, guarded: bool) -> Outcome | Task | None:
        """Return the outcome if the work must not begin; otherwise its task, if it has one."""
        header = message.header
        if guarded:
            gate = await self._gate(message, delivery)
            if gate is not None or header.stage in {Stage.NOTIFY, Stage.WAKE}:
                return gate
            return await load_task(header.run_id, self._services)
        if header.stage in {Stage.POLL, Stage.AUDIT} and self._is_late(header):
            return await self._expire(message)
        return None

    async def _save_ids(self, message: Message) -> Message:
        """Store the ids that a poll carries; one that is still to be stored stays in the message."""
        try:
            return await save_ids(message, self._services)
        except Outage:
            # A question that fails now is repeated while there is time.
            if self._is_late((await self._known(message, guarded=True)).header):
                return message
            raise

    async def _known(self, message: Message, *, guarded: bool) -> Message:
        """Return the message with the facts of the ledger in its header, if a decision may depend on them.

        Args:
            message: as it came.
            guarded: whether it is to be marked; a light message needs the facts only to end its run.

        Raises:
            tasks.errors.NotAccepted: the run was never accepted. Nothing is written into it: a mark would make the
                engine reject the task's own first message.
        """
        header = message.header
        if header.stage not in _OF_A_RUN or not (guarded or self._is_late(header)):
            return message
        accepted = await self._services.ledger.accepted(header.run_id)
        if accepted is None:
            raise NotAccepted(f"a {header.stage} message of {header.run_id.stem}, which was not accepted")
        facts = as_accepted(header, accepted)
        if header.attempt and header.stage != Stage.POLL:
            facts = msgspec.structs.replace(facts, attempt=await self._proven_attempt(message))
        return message if facts == header else Message(facts, message.body)

    async def _proven_attempt(self, message: Message) -> int:
        """Return the attempts that marks of earlier messages of the same chain confirm."""
        header = message.header
        ledger, slot = self._services.ledger, slot_of(message.body)
        last = await ledger.last_begun(header.run_id, header.stage, slot, header.seq)
        return min(header.attempt, last.attempt + 1 if last else 0)

    def _after(self, error: Exception, message: Message, *, attempt: int) -> Outcome:
        header = message.header
        outcome = outcome_of(_ours(error), attempt, self._services.rng, waits=_waits(header))
        if header.stage == Stage.DEAD and not isinstance(outcome, Snooze):
            # The failure function never dead-letters: it snoozes and raises an alarm.
            log.error(Event.DEAD_LETTER_HANDLING_FAILED, error=error)
            return Snooze(jittered(OUTAGE_DELAY, self._services.rng))
        if header.stage == Stage.WAKE and isinstance(outcome, Snooze) and header.seq >= MAX_WAKES:
            # A wake has no deadline. The sweep publishes new ones while the backend waits for a verdict.
            return dead_lettered(Reason.ATTEMPTS, error)
        if header.stage == Stage.WAKE and isinstance(outcome, Reject):
            # The run of a wake, or its kind, may be unknown: it is only recorded, and causes no refund.
            return dead_lettered(Reason.PERMANENT, error)
        if header.stage == Stage.PROMPT and isinstance(outcome, DeadLettered) and not isinstance(error, NotAccepted):
            return self._insist(error, attempt)
        return outcome

    def _insist(self, error: Exception, attempt: int) -> Outcome:
        """Return the outcome of a prompt that would end as a dead letter: with attempts spent it takes the template.

        Where that fails too, it is tried until the deadline.
        """
        if attempt < MAX_ATTEMPTS:
            return Retry(backoff(attempt, self._services.rng))
        log.error(Event.PROMPT_STUCK, error=error)
        return Snooze(jittered(OUTAGE_DELAY, self._services.rng))

    async def _gate(self, message: Message, delivery: Delivery) -> Outcome | None:
        """Check verdict, deadline, mark and attempts; None if work may begin. A wake checks the first two itself."""
        header = message.header
        verdict = None if header.stage == Stage.WAKE else await self._services.ledger.verdict(header.run_id)
        if header.stage == Stage.NOTIFY:
            if verdict is None:
                return Leave()
        elif verdict is not None:
            return Finish()
        elif header.stage != Stage.WAKE and self._is_late(header) and (expired := await self._expire(message)):
            return expired
        if (held := await hold(message, self._services)) and not await self._is_begun(message, delivery):
            return held
        if again := await self._mark(message, delivery):
            return again
        if header.attempt and header.stage != Stage.WAKE and await self._is_overtaken(message):
            return Leave()
        # A prompt never ends as a dead letter: its stage takes the template then.
        if header.attempt >= MAX_ATTEMPTS and header.stage != Stage.PROMPT:
            spent = f"attempt {header.attempt} of {MAX_ATTEMPTS}"
            error = ProcessCrashed(spent) if header.isolated else AttemptsSpent(spent)
            return dead_lettered(Reason.ATTEMPTS, error)
        return None

    async def _mark(self, message: Message, delivery: Delivery) -> Outcome | None:
        """Create the message's mark; None if this message carries the work."""
        header, ledger = message.header, self._services.ledger
        limit = longest_limit_of(header.stage, self._services.recipes.get(header.kind))
        begun = Begun(delivery.message_id, header.attempt, limit)
        mark = await ledger.write(_run_of(header), _mark_of(message, delivery), begun)
        reached(f"{header.stage}.marked")
        if mark.mine:
            return None
        if mark.record.message_id != delivery.message_id:
            return Leave()
        now, died = ledger.now(), delivery.holder_died
        return Crashed(may_run_again_at(header, mark.at, mark.record.limit_s, now, holder_died=died))

    async def _is_begun(self, message: Message, delivery: Delivery) -> bool:
        """Return True if the message's mark stands, so that no copy with the same attempt may follow it.

        Either an earlier process began it and has died since: then it must go on as a crash copy, which counts that
        death. Or another message with its number carries the work: a copy would get the next number, and repeat the
        attempt.
        """
        header = message.header
        if not is_guarded(header, 0.0, holder_died=delivery.holder_died):
            return False
        return await self._services.ledger.read(_run_of(header), _mark_of(message, delivery)) is not None

    async def _is_overtaken(self, message: Message) -> bool:
        """Return True if a later message of the same chain has begun: that one carries the run.

        What was published again before it began has no mark. If the process died before the ack, it comes again beside
        its successor, and would repeat an attempt that may have killed that process. An earlier mark says nothing: its
        message may be lost, and this one its successor.
        """
        header, ledger = message.header, self._services.ledger
        return await ledger.next_seq(header.run_id, header.stage, slot_of(message.body) or 0) > header.seq + 1

    async def _expire(self, message: Message) -> Outcome | None:
        """Return the verdict `failed` if the run is late by the store's clock too: the local one may err."""
        await self._services.ledger.ask_time()
        if not self._is_late(message.header):
            return None
        await self._effects.expire(message)
        return Leave()

    def _is_late(self, header: Header) -> bool:
        return header.deadline_at is not None and self._services.ledger.now() >= header.deadline_at


def _report(event: Event, error: Exception) -> None:
    """Log an error and mark the span as failed; a defect is an error, an expected fault a warning."""
    failed(error)
    level = log.warning if isinstance(error, ScfWorkersError | TimeoutError) else log.error
    level(event, error=error)


def _is_sweep(message: Message) -> bool:
    return isinstance(message.body, Wake) and message.body.why == SWEEP


def _run_of(header: Header) -> RunId:
    """Return the run whose folder holds the mark; run 0 for a wake without a run."""
    return header.run_id if header.run >= 0 else RunId(header.user, header.task, header.step, 0)


def _mark_of(message: Message, delivery: Delivery) -> RecordName[Begun]:
    """Return the mark's name. Wakes of a run share a number, so each has marks named by its message id."""
    header = message.header
    wake = header.stage == Stage.WAKE
    slot = 1 + zlib.crc32(delivery.message_id.encode()) if wake else slot_of(message.body)
    return Begun.at(header.stage, header.seq, slot)


def _ours(error: Exception) -> Exception:
    if not isinstance(error, TimeoutError):
        return error
    ours = StageTimeout("the stage's time limit passed")
    ours.__cause__ = error
    return ours


def _waits(header: Header) -> int:
    """Return the number of earlier copies that only waited; looks and full vendors do not count."""
    return max(0, header.seq - header.attempt) if header.stage in {Stage.CLEAN, Stage.PROMPT, Stage.COLLECT} else 0


def _fields(header: Header, delivery: Delivery) -> dict[str, object]:
    return {
        "user_id": header.user,
        "task_id": header.task,
        "step": header.step,
        "run": header.run,
        "stage": header.stage,
        "seq": header.seq,
        "attempt": header.attempt,
        "kind": header.kind,
        "topic": delivery.topic,
        "message_id": delivery.message_id,
    }


def _received(header: Header, waited: float) -> None:
    waited = round(waited, 3)
    note(queue_delay=waited)
    log.debug(Event.MESSAGE_RECEIVED, queue_delay=waited)
    if metrics.is_on():
        metrics.count(Metric.MESSAGES_RECEIVED, stage=header.stage, kind=header.kind or "none")
        metrics.observe(Metric.QUEUE_DELAY, waited, stage=header.stage)


def _done(message: Message, outcome: Outcome, started: float) -> None:
    """Log that a message's effect is stored."""
    header, took = message.header, round(_steady() - started, 3)
    name = _label(outcome.outcome if isinstance(outcome, For) else outcome)
    note(outcome=name)
    if metrics.is_on():
        metrics.count(Metric.MESSAGES_DONE, stage=header.stage, kind=header.kind or "none", outcome=name)
        metrics.observe(Metric.STAGE_DURATION, took, stage=header.stage, outcome=name)
    # "Nothing to do" is logged at DEBUG: it is the most frequent end of a wake.
    (log.debug if name == "leave" else log.info)(Event.MESSAGE_DONE, outcome=name, took=took)


def _label(outcome: Outcome) -> str:
    return "dead_lettered" if isinstance(outcome, DeadLettered) else type(outcome).__name__.lower()


def _steady() -> float:
    return asyncio.get_running_loop().time()
