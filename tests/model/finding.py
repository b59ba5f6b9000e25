"""Steps of a vendor that guards its creates by the call's identity, and lists them: a lost answer is found again."""

from __future__ import annotations

from tests.model.rules import Rules
from tests.model.stages import Options, open_call, sent, snooze
from tests.model.state import State

__all__ = ["find", "recover", "resend"]


def _job_of(state: State, call: int) -> int:
    """Number of the job that the vendor has for a call; 0 for none."""
    return next((number for number, job in enumerate(state.jobs, 1) if job.call == call), 0)


def find(rules: Rules, state: State, worker: int) -> Options:
    """Look for an open call in the vendor's list, before anything is decided about it."""
    work = state.work(worker)
    job = _job_of(state, work.call)
    if job:
        yield f"call {work.call} is listed", state.moved(worker, "store_id", job)
    if not job or state.faults["list_lags"]:
        new = state.spend("list_lags") if job else state.copy()
        old = state.calls[work.call].at < state.now
        if old and job:
            new.flags |= {"unlisted"}
        if old and not rules.not_found_proves_nothing:
            yield f"call {work.call} is not listed: not accepted", new.to(worker, "end_call", "R")
            return
        label, new = open_call(rules, new, worker, work.call)
        yield f"not listed, {label}", new


def recover(rules: Rules, state: State, worker: int) -> Options:
    """Look for the job of a create without an answer; send the create once more where the list has none."""
    work = state.work(worker)
    at, again = work.extra
    job = _job_of(state, work.call)
    if job:
        yield f"call {work.call} is listed", state.moved(worker, "store_id", job)
    if not job or state.faults["list_lags"]:
        new = state.spend("list_lags") if job else state.copy()
        if again or (rules.fresh_intent and at != state.now):
            yield f"call {work.call} is not listed, stays open", snooze(new, worker)
        else:
            yield f"call {work.call} is not listed, once more", new.to(worker, "resend", at)


def resend(rules: Rules, state: State, worker: int) -> Options:
    """Send the create once more, under the identity of its call."""
    work = state.work(worker)
    if rules.same_identity and _job_of(state, work.call):
        if rules.duplicate_is_accepted:
            yield (
                f"call {work.call}: a duplicate, accepted before",
                state.moved(worker, "recover", *work.extra, "again"),
            )
        else:
            yield f"call {work.call}: a duplicate, not accepted", state.moved(worker, "end_call", "R")
        return
    new = sent(state, work.call)
    yield f"call {work.call}: job {len(new.jobs)} at the second create", new.to(worker, "store_id", len(new.jobs))
    if state.faults["create_cut"]:
        cut = state.spend("create_cut", "unknown")
        yield f"call {work.call}: the second accepted, answer cut", snooze(sent(cut, work.call), worker)
        yield f"call {work.call}: the second cut, not accepted", snooze(cut, worker)
    if state.faults["vendor_full"]:
        yield f"call {work.call}: no room for the second, stays open", snooze(state.spend("vendor_full"), worker)
