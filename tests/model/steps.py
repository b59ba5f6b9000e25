"""Steps that every modelled run has: marks, errors, publishing, acks, deliveries, and what disturbs a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tests.model.harness import AUDIT, FREE, LETTER, POLL, WAKE, AnyState, Mark, Message, Work
from tests.model.rules import Rules

__all__ = ["Options", "ack", "copy_of", "deliveries", "disturbed", "letter", "mark", "publish", "snooze", "task_error"]

Options = Iterator[tuple[str, AnyState]]
"""Labelled successors of a state."""
_FIRST: Final = {POLL: "query", AUDIT: AUDIT}
"""First step of the looks, which pay for nothing."""
_PAID: Final = {"post", "store_id", "store_result"}
"""Steps after which a dead worker leaves a call that may have been accepted without an id."""


def letter(work: Work, why: str, now: int, call: int | None = None) -> Message:
    """The dead letter of a message."""
    number = work.call if call is None else call
    return Message(LETTER, work.seq, work.attempt, number, now, cause=f"{work.stage}:{why}", slot=work.slot)


def copy_of(work: Work, due: int, attempt: int | None = None) -> Message:
    """The copy that carries on a message."""
    return Message(
        work.stage, work.seq + 1, work.attempt if attempt is None else attempt, work.call, due, slot=work.slot
    )


def snooze(state: AnyState, worker: int) -> AnyState:
    """Let a worker publish a copy for the next epoch, in place."""
    return state.to(worker, "publish", copy_of(state.work(worker), state.now + 1), "ack")


def mark(rules: Rules, state: AnyState, worker: int) -> Options[AnyState]:
    """Create the mark of a message, or find one there."""
    work, new = state.work(worker), state.copy()
    name = state.mark_name(rules, work)
    found = state.marks.get(name)
    if found is None:
        new.marks[name] = Mark(work.message, work.attempt, state.now)
        if work.attempt > rules.attempts:
            new.to(worker, "publish", letter(work, "attempts", state.now), "ack")
            yield f"mark {name} created: attempts spent", new
            return
        yield f"mark {name} created", new.to(worker, _FIRST.get(work.stage, work.stage))
    elif found.message != work.message:
        yield f"mark {name} is of m{found.message}: leaves", new.to(worker, "ack")
    elif work.stage in _FIRST:
        yield f"mark {name} is mine: a look goes on", new.to(worker, _FIRST[work.stage])
    elif work.attempt >= rules.attempts and not rules.letter_after_mark:
        yield "mark is mine, attempts spent", new.to(worker, "publish", letter(work, "attempts", state.now), "ack")
    else:
        due = found.at + 1 if rules.wait_for_holder else state.now
        yield "mark is mine: a copy", new.to(worker, "publish", copy_of(work, due, work.attempt + 1), "ack")


def task_error(rules: Rules, state: AnyState, worker: int) -> Options[AnyState]:
    """A `Transient` error of a stage: a copy with one more attempt, or a dead letter."""
    if not state.faults["task_error"]:
        return
    work = state.work(worker)
    new = state.spend("task_error", f"error in {work.stage}")
    if work.attempt + 1 > rules.attempts:
        new.to(worker, "publish", letter(work, "attempts", state.now), "ack")
    else:
        new.to(worker, "publish", copy_of(work, state.now + 1, work.attempt + 1), "ack")
    yield f"{work.stage} seq {work.seq}: error of this task", new


def publish(rules: Rules, state: AnyState, worker: int) -> Options[AnyState]:
    """Publish a message and wait for the receipt."""
    message, then = state.work(worker).extra
    slot = f" slot {message.slot}" if message.slot else ""
    text = f"publish {message.stage}{slot} seq {message.seq} attempt {message.attempt} {message.cause}".rstrip()
    new = state.copy()
    number = new.publish(message)
    yield f"{text} as m{number}", new.to(worker, then)
    if not state.faults["publish_failed"]:
        return
    for stored in (True, False):
        failed = state.spend("publish_failed")
        if stored:
            failed.publish(message)
        yield (
            f"{text}: reported as failed, {'stored' if stored else 'not stored'}",
            (failed if rules.publish_again else failed.let_go(worker)),
        )


def ack(rules: Rules, state: AnyState, worker: int) -> Options[AnyState]:
    """Acknowledge the message."""
    del rules
    new, number = state.copy(), state.work(worker).message
    new.workers[worker] = None
    if number in state.messages and state.messages[number].holder == worker:
        if state.faults["ack_lost"]:
            yield f"ack of m{number} lost", state.spend("ack_lost").let_go(worker)
        del new.messages[number]
    yield f"ack of m{number}", new


def disturbed(state: AnyState, worker: int) -> Options[AnyState]:
    """The death of a busy worker; its message given to another."""
    work = state.work(worker)
    if state.faults["crash"]:
        flags = {"crash", "unknown"} if work.step in _PAID else {"crash"}
        yield (
            f"w{worker} DIES before {work.step} ({work.stage} {work.seq})",
            state.spend("crash", *flags).let_go(worker),
        )
    held = state.messages.get(work.message)
    if state.faults["redelivery"] and held and held.holder == worker:
        new = state.spend("redelivery")
        new.messages[work.message] = held._replace(holder=FREE)
        yield f"broker gives m{work.message} ({work.stage} {work.seq}) again, w{worker} is at {work.step}", new


def deliveries(rules: Rules, state: AnyState, begin: Callable[[AnyState, int], str]) -> Options[AnyState]:
    """Due messages given to the first idle worker, which `begin` sends to its first effect; or lost."""
    idle = next((worker for worker, work in enumerate(state.workers) if not work), None)
    for number, message in sorted(state.messages.items()):
        if message.holder != FREE:
            continue
        if message.due <= state.now and idle is not None:
            new = _taken(state, idle, number)
            label = begin(new, idle)
            if not rules.ack_last or (message.stage == WAKE and message.cause == "sweep"):
                del new.messages[number]
            slot = f" slot {message.slot}" if message.slot else ""
            taken = f"w{idle} takes m{number} {message.stage}{slot} {message.seq} attempt {message.attempt}"
            yield f"{taken}: {label}", new
        if state.faults["message_lost"]:
            lost = state.spend("message_lost", "message_lost")
            del lost.messages[number]
            yield f"broker LOSES m{number} {message.stage} {message.seq}", lost


def _taken(state: AnyState, worker: int, number: int) -> AnyState:
    new, message = state.copy(), state.messages[number]
    new.messages[number] = message._replace(holder=worker)
    new.workers[worker] = Work(
        "begin", number, message.stage, message.seq, message.attempt, message.call, message.cause, message.slot
    )
    return new
