"""All moves from a state: steps of workers, deliveries, and the faults that may still happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.model import ending, finding, stages
from tests.model.begin import begin
from tests.model.rules import Rules
from tests.model.stages import Options, died_of
from tests.model.state import CLEAN, COLLECT, FREE, GENERATE, WAKE, Message, State, Verdict, Work

__all__ = ["deliveries", "moves", "outside", "steps"]

_STEPS: Final[Mapping[str, Callable[[Rules, State, int], Options]]] = {
    "mark": stages.mark,
    CLEAN: stages.clean,
    GENERATE: stages.generate,
    COLLECT: stages.collect,
    "give_up": stages.give_up,
    "intent": stages.intent,
    "post": stages.post,
    "store_id": stages.store_id,
    "read_again": stages.read_again,
    "end_call": stages.end_call,
    "find": finding.find,
    "recover": finding.recover,
    "resend": finding.resend,
    "query": stages.query,
    "put_verdict": ending.put_verdict,
    "promote": ending.promote,
    "cancel_jobs": ending.cancel_jobs,
    "wipe": ending.wipe,
    "callback": ending.callback,
    "withdraw": ending.withdraw,
    "store_delivered": ending.store_delivered,
    "publish": ending.publish,
    "ack": ending.ack,
}
_PAID: Final = {"post", "recover", "resend", "store_id"}
"""Steps after which a dead worker leaves a call that may have been accepted without an id."""
_THROTTLED: Final = {CLEAN, GENERATE, COLLECT}


def steps(rules: Rules, state: State, worker: int) -> Options:
    """The next step of a busy worker, with each outcome that it may have."""
    return _STEPS[state.work(worker).step](rules, state, worker)


def moves(rules: Rules, deadline: int, state: State) -> Options:
    """Every move from a state."""
    for worker, work in enumerate(state.workers):
        if work:
            yield from ((f"w{worker} {label}", new) for label, new in steps(rules, state, worker))
            yield from _disturbed(state, worker, work)
    yield from deliveries(rules, deadline, state)
    yield from outside(state)


def _disturbed(state: State, worker: int, work: Work) -> Options:
    if state.faults["crash"]:
        flags = {"crash", "unknown"} if work.step in _PAID else {"crash"}
        if work.step == work.stage:
            flags.add(died_of(work.stage, work.attempt, work.seq))
        yield (
            f"w{worker} DIES before {work.step} ({work.stage} {work.seq})",
            state.spend("crash", *flags).let_go(worker),
        )
    held = state.messages.get(work.message)
    if state.faults["redelivery"] and held and held.holder == worker:
        new = state.spend("redelivery")
        new.messages[work.message] = held._replace(holder=FREE)
        yield f"broker gives m{work.message} ({work.stage} {work.seq}) again, w{worker} is at {work.step}", new


def deliveries(rules: Rules, deadline: int, state: State) -> Options:
    """Due messages given to the first idle worker, or lost."""
    idle = next((worker for worker, work in enumerate(state.workers) if not work), None)
    for number, message in sorted(state.messages.items()):
        if message.holder != FREE:
            continue
        if message.due <= state.now and idle is not None:
            yield _taken(rules, deadline, state, idle, number)
            yield from _throttled(state, idle, number)
        if state.faults["message_lost"]:
            lost = state.spend("message_lost", "message_lost")
            del lost.messages[number]
            yield f"broker LOSES m{number} {message.stage} {message.seq}", lost


def _throttled(state: State, worker: int, number: int) -> Options:
    message = state.messages[number]
    begun = any(name in state.marks for name in ((message.seq, message.stage), (message.seq, "")))
    if not state.faults["throttled"] or message.stage not in _THROTTLED or begun:
        return
    new = state.spend("throttled")
    new.messages[number] = message._replace(holder=worker)
    new.workers[worker] = _work(number, message)
    copy = message._replace(seq=message.seq + 1)
    yield f"w{worker} throttles m{number} {message.stage} {message.seq}", new.to(worker, "publish", copy, "ack")


def _work(number: int, message: Message) -> Work:
    return Work("begin", number, message.stage, message.seq, message.attempt, message.call, message.cause)


def _taken(rules: Rules, deadline: int, state: State, worker: int, number: int) -> tuple[str, State]:
    new, message = state.copy(), state.messages[number]
    new.messages[number] = message._replace(holder=worker)
    new.workers[worker] = _work(number, message)
    label = begin(rules, deadline, new, worker)
    if not rules.ack_last or (message.stage == WAKE and message.cause == "sweep"):
        del new.messages[number]
    return f"w{worker} takes m{number} {message.stage} {message.seq} attempt {message.attempt}: {label}", new


def outside(state: State) -> Options:
    """Moves of the vendor, the backend, the producers and the clock."""
    for index, job in enumerate(state.jobs):
        yield from _job(state, index, job.state)
    if state.faults["sweep"] and not state.delivered:
        new = state.spend("sweep")
        new.publish(Message(WAKE, cause="sweep"))
        yield "sweep publishes a wake", new
    if state.faults["cancel"]:
        new = state.spend("cancel")
        if not new.verdict:
            new.verdict, new.written_at = Verdict("cancelled", cause="cancel"), new.now
        new.publish(Message(WAKE))
        yield "cancel writes the verdict, publishes a wake", new
    if state.faults["backend_cancels"] and not state.callbacks and not state.backend:
        new = state.spend("backend_cancels")
        new.backend = "cancelled"
        yield "the backend cancels by itself", new
    if state.faults["duplicate_event"] and not state.verdict:
        new = state.spend("duplicate_event")
        new.publish(Message(CLEAN))
        yield "the event comes again: clean 0", new
    if state.faults["tick"]:
        new = state.spend("tick")
        new.now += 1
        yield f"time passes (epoch {new.now})", new


def _job(state: State, index: int, at: str) -> Options:
    job = state.jobs[index]
    if at == "running":
        done = state.copy()
        done.jobs[index] = job._replace(state="done")
        yield f"vendor: job {index + 1} is done", done
        if state.faults["job_failed"]:
            failed = state.spend("job_failed", "job_failed")
            failed.jobs[index] = job._replace(state="failed")
            yield f"vendor: job {index + 1} FAILS", failed
    elif state.faults["webhook"] and at in {"done", "failed"} and not state.calls[job.call].hinted:
        new = state.spend("webhook")
        new.calls[job.call] = new.calls[job.call]._replace(hinted=index + 1)
        new.publish(Message(WAKE))
        yield f"webhook for job {index + 1}: the id, a wake", new
