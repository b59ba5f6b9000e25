"""The model of a run with several slots: its moves and its promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.model.harness import AUDIT, CLEAN, COLLECT, FREE, GENERATE, POLL, WAKE, Message, Verdict
from tests.model.model import Model
from tests.model.rules import Fault
from tests.model.slots import chain, ending
from tests.model.slots.begin import begin
from tests.model.slots.rules import SlotRules
from tests.model.slots.state import RUNNING, SlotState, first_state
from tests.model.steps import Options, ack, mark, publish

__all__ = ["SlotModel"]

_STEPS: Final[Mapping[str, Callable[[SlotRules, SlotState, int], Options[SlotState]]]] = {
    "mark": mark,
    CLEAN: ending.clean,
    "fan_out": ending.fan_out,
    GENERATE: chain.generate,
    "intent": chain.intent,
    "post": chain.post,
    "store_id": chain.store_id,
    "read_again": chain.read_again,
    "cancel_late": chain.cancel_late,
    "store_result": chain.store_result,
    "end_call": chain.end_call,
    "query": chain.query,
    "count": chain.count,
    "put_end": chain.put_end,
    "fan_in": chain.count_slots,
    "next_slot": chain.next_slot,
    COLLECT: ending.collect,
    "store_staged": ending.store_staged,
    AUDIT: ending.audit,
    "put_verdict": ending.put_verdict,
    "cancel_jobs": ending.cancel_jobs,
    "deliver": ending.deliver,
    "publish": publish,
    "ack": ack,
}


class SlotModel(Model[SlotState]):
    """A run of a kind with slots."""

    def __init__(self, rules: SlotRules) -> None:
        self.rules: SlotRules = rules

    def first(self, faults: Mapping[Fault, int], workers: int = 2) -> SlotState:
        """The state in which a run was just accepted."""
        return first_state(faults, workers)

    def begin(self, deadline: int, state: SlotState, worker: int) -> str:
        """Send a worker to the first effect of the message that it has just taken."""
        return begin(self.rules, deadline, state, worker)

    def steps(self, state: SlotState, worker: int) -> Options[SlotState]:
        """The next step of a busy worker."""
        return _STEPS[state.work(worker).step](self.rules, state, worker)

    def outside(self, state: SlotState) -> Options[SlotState]:
        """Moves of the vendor, the producers and the clock."""
        for index, job in enumerate(state.jobs):
            if job.state == "running":
                yield from _job(state, index)
        yield from _producers(state)
        if state.faults["tick"]:
            new = state.spend("tick")
            new.now += 1
            yield f"time passes (epoch {new.now})", new

    def broken(self, state: SlotState) -> list[str]:
        """A slot is paid once at most."""
        slots = [job.slot for job in state.jobs]
        return [f"slot {slot} paid {slots.count(slot)} times" for slot in sorted(set(slots)) if slots.count(slot) > 1]

    def end_broken(self, end: SlotState) -> list[str]:
        """No known job runs on; no run has failed whose slots sufficed."""
        assert end.verdict
        broken = []
        if any(call.job and end.job_state(*at) in RUNNING for at, call in end.calls.items()):
            broken.append("a job runs on after the end")
        slots = frozenset(range(1, self.rules.slots + 1))
        fine = sum(not _may_be_lost(end, slot) for slot in slots - end.blocked)
        if end.verdict.cause in {"slots", "blocked"} and fine >= self.rules.enough and end.staged in {None, slots}:
            broken.append("a run that had enough good slots has failed")
        return broken

    def may_wait(self, state: SlotState) -> bool:
        """A run that nothing else can end waits for its deadline."""
        return self.doomed(state)

    def doomed(self, state: SlotState) -> bool:
        """A job runs for ever, and too few other slots are left."""
        slots = range(1, self.rules.slots + 1)
        stuck = any(job.state == "stuck" for job in state.jobs)
        return stuck and sum(_may_be_lost(state, slot) for slot in slots) > self.rules.slots - self.rules.enough


def _may_be_lost(state: SlotState, slot: int) -> bool:
    """True for a slot that ended badly, will, or never ends."""
    jobs = {job.state for job in state.jobs if job.slot == slot}
    bad = slot in state.ends and not state.ends[slot].good
    return bad or bool(state.open(slot) or jobs & {"failed", "cancelled", "stuck"})


def _job(state: SlotState, index: int) -> Options[SlotState]:
    job = state.jobs[index]
    outcomes: tuple[tuple[Fault | None, str], ...] = (
        (None, "done"),
        ("job_failed", "failed"),
        ("job_stuck", "stuck"),
        ("blocked", "done"),
    )
    for fault, outcome in outcomes:
        if fault and not state.faults[fault]:
            continue
        new = state.spend(fault) if fault else state.copy()
        new.jobs[index] = job._replace(state=outcome)
        if fault == "blocked":
            new.blocked |= {job.slot}
        yield f"vendor: job of slot {job.slot} is {outcome}{', to be blocked' if fault == 'blocked' else ''}", new


def _producers(state: SlotState) -> Options[SlotState]:
    if state.faults["sweep"] and not state.delivered:
        new = state.spend("sweep")
        new.publish(Message(WAKE, cause="sweep"))
        yield "sweep publishes a wake", new
    if state.faults["cancel"]:
        new = state.spend("cancel")
        new.verdict = new.verdict or Verdict("cancelled", cause="cancel")
        new.publish(Message(WAKE))
        yield "cancel writes the verdict, publishes a wake", new
    if state.faults["duplicate_event"] and not state.verdict:
        new = state.spend("duplicate_event")
        new.publish(Message(CLEAN))
        yield "the event comes again: clean 0", new
    if state.faults["early"]:
        for number, message in sorted(state.messages.items()):
            if message.due > state.now and message.holder == FREE and message.stage not in {GENERATE, POLL}:
                new = state.spend("early")
                new.messages[number] = message._replace(due=state.now)
                yield f"a clock that is ahead: m{number} {message.stage} passes as due", new
