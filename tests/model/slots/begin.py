"""The first decision about a message of a run with slots: all reads before the first effect."""

from __future__ import annotations

from tests.model.harness import AUDIT, CLEAN, COLLECT, GENERATE, LETTER, NOTIFY, POLL, WAKE, Message, Verdict
from tests.model.slots.rules import SlotRules
from tests.model.slots.state import End, SlotState, decide, next_seq

__all__ = ["begin", "fan_in", "finish"]


def begin(rules: SlotRules, deadline: int, state: SlotState, worker: int) -> str:
    """Send a worker, in place, to the first effect of the message that it has just taken; return its name."""
    work = state.work(worker)
    if work.stage == LETTER:
        return _letter(rules, state, worker)
    if work.stage == POLL and work.seq % rules.marked_looks:
        state.to(worker, "query")
        return "a light look"
    if state.verdict and work.stage == WAKE:
        state.to(worker, "publish", Message(NOTIFY, next_seq(state, NOTIFY), due=state.now), "ack")
        return "verdict is there, notify"
    if state.verdict or work.stage == NOTIFY:
        return finish(state, worker)
    if state.now >= deadline:
        state.to(worker, "put_verdict", Verdict("failed", cause="deadline"))
        return "deadline passed"
    if work.stage == WAKE:
        return _wake(rules, state, worker)
    light = work.stage == AUDIT and work.seq % rules.marked_looks
    state.to(worker, AUDIT if light else "mark")
    return "begins"


def finish(state: SlotState, worker: int) -> str:
    """Send a worker to the first step of `finish`, in place."""
    state.to(worker, "cancel_jobs" if state.verdict else "ack")
    return "verdict is there" if state.verdict else "no verdict"


def fan_in(rules: SlotRules, state: SlotState, worker: int) -> str:
    """Count the slots and send a worker on, in place."""
    if state.verdict:
        return finish(state, worker)
    decision = "nothing" if state.staged is not None else decide(rules, state)
    seq = next_seq(state, COLLECT) if state.work(worker).stage == WAKE else 0
    if decision == "failed":
        state.to(worker, "put_verdict", Verdict("failed", cause="slots"))
    elif decision == "nothing":
        state.to(worker, "ack")
    else:
        due = rules.last_call if decision == "later" else state.now
        state.to(worker, "publish", Message(COLLECT, seq, due=due), "ack")
    return f"{len(state.good())} good of {len(state.ends)} ended: {decision}"


def _letter(rules: SlotRules, state: SlotState, worker: int) -> str:
    """The failure function: it ends the slot unless the ledger is further than the letter."""
    work = state.work(worker)
    stage, _, why = work.cause.partition(":")
    if state.verdict:
        return finish(state, worker)
    if stage == CLEAN and state.calls:
        state.to(worker, "publish", Message(WAKE, due=state.now), "ack")
        return "stale letter of clean, a wake"
    if stage not in {GENERATE, POLL} or rules.fault_ends == "run":
        state.to(worker, "put_verdict", Verdict("failed", cause=work.cause))
        return "fails the run"
    if work.slot in state.ends:
        return _ended(rules, state, worker)
    if _is_stale(rules, state, work.slot, why):
        state.to(worker, "publish", Message(WAKE, due=state.now), "ack")
        return "stale letter, a wake"
    state.flags |= _unjust(state, work.slot, why)
    state.to(worker, "put_end", End(good=False, cause=why))
    return "fails the slot"


def _ended(rules: SlotRules, state: SlotState, worker: int) -> str:
    if rules.ended_fans_in:
        return "slot has an end; " + fan_in(rules, state, worker)
    state.to(worker, "ack")
    return "slot has an end, recorded only"


def _is_stale(rules: SlotRules, state: SlotState, slot: int, why: str) -> bool:
    """True if the ledger is further than a letter: its slot (or, by an earlier rule, another) may still succeed."""
    if rules.failure_reads == "nothing":
        return False
    if rules.failure_reads == "run":
        others = set(range(1, rules.slots + 1)) - {slot} - set(state.ends)
        if any(state.result(other) or state.live(other) or state.open(other) for other in others):
            return True
    calls = state.calls_of(slot)
    if state.result(slot) or state.live(slot) or any(calls[number].at >= state.now for number in state.open(slot)):
        return True
    nothing_lost = not state.open(slot) and not state.failed(slot)
    return rules.unknown_checked and why in {"unknown", "vendor"} and nothing_lost


def _unjust(state: SlotState, slot: int, why: str) -> set[str]:
    """Reasons why a slot must not end badly by this letter now."""
    alive = any(state.job_state(slot, number) in {"running", "stuck", "done"} for number in state.live(slot))
    if state.result(slot) or alive:
        return {"a letter kills a paid result"}
    calls = state.calls_of(slot)
    if why == "vendor" and not state.failed(slot):
        return {"slot failed though its job did not"}
    if why == "unknown" and not any(calls[number].at < state.now for number in state.open(slot)):
        return {"slot given up though no call is open and old"}
    if why == "attempts" and not state.flags & {"crash", f"error in {GENERATE}", f"error in {POLL}"}:
        return {"slot failed though nothing failed"}
    return set()


def _wake(rules: SlotRules, state: SlotState, worker: int) -> str:
    """The next step of a run without a verdict; slots follow one by one."""
    if state.staged is not None:
        state.to(worker, "publish", Message(AUDIT, next_seq(state, AUDIT), due=state.now), "ack")
        return "staged, to its audit"
    if not state.cleaned:
        state.to(worker, "publish", Message(CLEAN, next_seq(state, CLEAN), due=state.now), "ack")
        return "to clean"
    state.aim(worker, 0, tuple(range(1, rules.slots + 1))).to(worker, "next_slot")
    return "looks at each slot"
