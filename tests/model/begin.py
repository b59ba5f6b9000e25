"""The first decision about a message: all reads before the first effect."""

from __future__ import annotations

from tests.model.rules import Rules
from tests.model.state import CLEAN, COLLECT, GENERATE, LETTER, NOTIFY, POLL, WAKE, Message, State, Verdict

__all__ = ["begin", "behind", "finish", "next_seq", "number_after_begun"]


def begin(rules: Rules, deadline: int, state: State, worker: int) -> str:
    """Send a worker, in place, to the first effect of the message that it has just taken; say which."""
    work = state.work(worker)
    if work.stage == LETTER:
        return _letter(rules, state, worker)
    if state.verdict and work.stage == WAKE and not rules.wake_finishes:
        state.to(worker, "publish", Message(NOTIFY, seq=work.seq + 1), "ack")
        return "verdict is there, notify"
    if work.stage == NOTIFY or (state.verdict and (rules.verdict_first or work.stage == WAKE)):
        return finish(rules, state, worker)
    if state.now >= deadline:
        state.to(worker, "put_verdict", Verdict("failed", cause="deadline"))
        return "deadline passed"
    if work.stage == WAKE:
        return _wake(rules, state, worker)
    if behind(rules, state, work.stage) and work.stage == CLEAN:
        state.to(worker, "ack")
        return "the job is known, leaves"
    return _to_mark(rules, state, worker)


def _to_mark(rules: Rules, state: State, worker: int) -> str:
    work = state.work(worker)
    marked = rules.marks and (work.stage != COLLECT or rules.mark_collect)
    if work.stage == POLL:
        marked = rules.marks and rules.marked_looks > 0 and work.seq % rules.marked_looks == 0
    state.to(worker, "mark" if marked else "query" if work.stage == POLL else work.stage)
    return "to its mark" if marked else "unmarked"


def _letter(rules: Rules, state: State, worker: int) -> str:
    """The failure function: it fails the run unless the ledger is further than the letter."""
    work = state.work(worker)
    stage, _, why = work.cause.partition(":")
    if state.verdict:
        return finish(rules, state, worker)
    if behind(rules, state, stage):
        state.to(worker, "ack")
        return "stale letter, recorded only"
    if rules.last_call_fails and why == "vendor" and (set(state.live()) - {work.call} or state.open()):
        state.to(worker, "ack")
        return "another call is alive, recorded only"
    state.flags |= _unjust(state, work.cause)
    state.to(worker, "put_verdict", Verdict("failed", cause=work.cause))
    return "recorded"


def _unjust(state: State, cause: str) -> set[str]:
    """Reasons why a run must not fail by this letter now."""
    stage, _, why = cause.partition(":")
    alive = [number for number in state.live() if state.jobs[state.job_of(number)].state in {"running", "done"}]
    if why == "vendor" and alive:
        return {"failed by a dead job while another is alive"}
    if why == "unknown" and alive:
        return {"given up though the id is known"}
    if why == "unknown" and not any(call.sent for call in state.calls.values()):
        return {"note: unknown though never sent"}
    if why == "attempts" and alive and stage != COLLECT:
        return {"failed by a stale message while the job is alive"}
    if why == "attempts" and not state.flags & {"crash", f"error in {stage}"}:
        return {"failed though nothing failed"}
    return set()


def _wake(rules: Rules, state: State, worker: int) -> str:
    """The next step of a run without a verdict."""
    if state.known():
        state.to(worker, "query", call=(state.live() or state.known())[-1])
        return "id known, looks once"
    if state.open() and rules.guarded:
        state.to(worker, "find", call=state.open()[-1])
        return "open call without an id, to be found"
    if state.open():
        state.to(worker, "ack")
        return "open call without an id, waits"
    stage = GENERATE if state.cleaned else CLEAN
    seq = number_after_begun(rules, state, stage)
    state.to(worker, "publish", Message(stage, seq=seq, due=state.now), "ack")
    return f"will publish {stage} seq {seq}"


def finish(rules: Rules, state: State, worker: int, *, mine: bool = False) -> str:
    """Send a worker to the first step of `finish`, in place; a final verdict reads the same at any time.

    A new verdict is left to the worker that wrote it (`mine`); a `notify` makes sure of it.
    """
    work, young = state.work(worker), state.written_at == state.now
    if state.delivered == "contrary" and rules.withdraw_again:
        state.to(worker, "withdraw", "ack")
    elif state.delivered or not state.verdict:
        state.to(worker, "ack")
    elif young and not mine and work.stage != NOTIFY and rules.left_to_writer != "never":
        checked = rules.left_to_writer == "checked"
        state.to(worker, *(("publish", Message(NOTIFY, work.seq + 1, due=state.now)) if checked else ()), "ack")
    else:
        state.to(worker, "promote" if state.verdict.status == "success" else "cancel_jobs")
    return "verdict is there" if state.verdict else "no verdict"


def behind(rules: Rules, state: State, stage: str) -> bool:
    """True for clean and generate once a job is known: the ledger is further than the message."""
    return rules.ledger_decides and stage in {CLEAN, GENERATE} and bool(state.live())


def number_after_begun(rules: Rules, state: State, stage: str) -> int:
    """Sequence number of what a wake publishes."""
    if rules.wake_numbers == "zero":
        return 0
    begun = [seq for seq, name in state.marks if not rules.numbers_by_stage or name == stage]
    return max(begun, default=-1) + 1


def next_seq(rules: Rules, seq: int) -> int:
    """Sequence number of the next stage's first message."""
    return 0 if rules.numbers_by_stage else seq + 1
