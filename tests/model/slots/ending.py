"""Steps of a run with slots that belong to no slot: clean, collect, audit, verdict and finish."""

from __future__ import annotations

from tests.model.harness import AUDIT, COLLECT, GENERATE, Message, Verdict
from tests.model.slots.begin import fan_in, finish
from tests.model.slots.rules import SlotRules
from tests.model.slots.state import RUNNING, SlotState, decide
from tests.model.steps import Options, copy_of, task_error

__all__ = ["audit", "cancel_jobs", "clean", "collect", "deliver", "fan_out", "put_verdict", "store_staged"]

Steps = Options[SlotState]


def clean(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Make the cleaned inputs; then one message for each slot."""
    new = state.copy()
    new.cleaned = True
    new.aim(worker, 0, tuple(range(1, rules.slots + 1)))
    yield "clean works", new.to(worker, "fan_out")
    yield from task_error(rules, state, worker)


def fan_out(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Publish the generate message of the next slot."""
    del rules
    new = state.copy()
    slot, *rest = state.work(worker).rest
    new.aim(worker, 0, tuple(rest))
    message = Message(GENERATE, due=state.now, slot=slot)
    yield f"slot {slot} follows", new.to(worker, "publish", message, "fan_out" if rest else "ack")


def collect(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Decide again; take the good slots."""
    new, decision = state.copy(), decide(rules, state)
    if state.staged is not None and rules.staged_audited:
        yield "staged already", new.to(worker, "audit")
    elif state.staged is not None or decision in {"nothing", "failed"}:
        yield "collect: " + fan_in(rules, new, worker), new
    elif decision == "later":
        work = state.work(worker)
        if rules.early_collect == "copy":
            new.to(worker, "publish", copy_of(work, rules.last_call), "ack")
        else:
            new.to(worker, "ack")
        yield f"collect: too early, {rules.early_collect}", new
    else:
        good = state.good()
        yield f"collect takes {sorted(good)}", new.to(worker, "store_staged", good)
    yield from task_error(rules, state, worker)


def store_staged(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Create the run's set of results; the one that stands counts."""
    new, good = state.copy(), state.work(worker).extra[0]
    if state.staged is None:
        new.staged = good
        undecided = len(state.ends) < rules.slots and (not rules.last_call or state.now < rules.last_call)
        if undecided or len(good) < rules.enough:
            new.flags |= {"collected before the run was decided"}
    yield f"staged {sorted(good)}" + (" -> stored already" if state.staged is not None else ""), new.to(worker, "audit")


def audit(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Audit the run's set: what is blocked is lost."""
    new = state.copy()
    assert state.staged is not None
    passed = state.staged - state.blocked
    others = any(job.state in RUNNING for job in state.jobs)
    if len(passed) >= rules.enough:
        verdict = Verdict("success", staged=passed)
        yield f"audit passes {sorted(passed)}", new.to(worker, "put_verdict", verdict)
    elif others and not rules.audit_final:
        yield "blocked, but another slot works: leaves", new.to(worker, "ack")
    else:
        yield "blocked", new.to(worker, "put_verdict", Verdict("failed", cause="blocked"))
    if state.faults["audit_down"]:
        work, down = state.work(worker), state.spend("audit_down")
        seq = work.seq + 1 if work.stage == AUDIT else 0
        down.to(worker, "publish", Message(AUDIT, seq, due=state.now + 1), "ack")
        yield "audit is down", down


def put_verdict(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Create the verdict; act on the one that is stored."""
    new, wanted = state.copy(), state.work(worker).extra[0]
    if not state.verdict:
        new.verdict = wanted
        new.flags |= _unjust(rules, state, wanted)
    elif not rules.create_only and state.verdict.status != wanted.status:
        new.verdict, new.flags = wanted, new.flags | {"verdict changed"}
    finish(new, worker)
    yield f"verdict {wanted.status} {wanted.cause}" + (" -> stored already" if state.verdict else ""), new


def _unjust(rules: SlotRules, state: SlotState, verdict: Verdict) -> set[str]:
    """Reasons why a run must not end like this now."""
    stage, _, why = verdict.cause.partition(":")
    if verdict.status == "success":
        return {"success with too few results"} if len(verdict.staged) < rules.enough else set()
    if verdict.cause == "slots" and state.bad() <= rules.slots - rules.enough:
        return {"failed though enough slots may succeed"}
    if stage == GENERATE or why == "vendor":
        return {"a slot's fault fails the run"} if rules.enough < rules.slots else set()
    if stage == COLLECT and not state.flags & {"crash", f"error in {COLLECT}"}:
        return {"failed though nothing failed"}
    return set()


def cancel_jobs(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Cancel every job that is known and runs: stragglers too."""
    del rules
    new = state.copy()
    good = state.good()
    for (slot, number), call in state.calls.items():
        if call.job and slot not in good:
            new.cancel_job(slot, number)
    yield "jobs cancelled", new.to(worker, "deliver")


def deliver(rules: SlotRules, state: SlotState, worker: int) -> Steps:
    """Report the verdict to the backend and store its answer."""
    del rules
    new = state.copy()
    new.delivered = "yes"
    yield "delivered", new.to(worker, "ack")
