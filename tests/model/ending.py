"""Steps after the verdict."""

from __future__ import annotations

from tests.model.begin import finish
from tests.model.harness import NOTIFY, WAKE, Message
from tests.model.rules import Rules
from tests.model.state import State
from tests.model.steps import Options

__all__ = ["callback", "cancel_jobs", "promote", "put_verdict", "store_delivered", "wipe", "withdraw"]


def put_verdict(rules: Rules, state: State, worker: int) -> Options[State]:
    """Create the verdict; act on the one that is stored."""
    new = state.copy()
    wanted = state.work(worker).extra[0]
    if not state.verdict or not rules.create_only:
        if state.verdict and state.verdict.status != wanted.status:
            new.flags |= {"verdict changed"}
        new.verdict = wanted
    finish(rules, new, worker)
    yield f"verdict {wanted.status} {wanted.cause}" + (" -> stored already" if state.verdict else ""), new


def promote(rules: Rules, state: State, worker: int) -> Options[State]:
    """Copy the staged object of the verdict to the output, if it is still the same."""
    del rules
    new, verdict = state.copy(), state.verdict
    assert verdict
    if state.staged.get(verdict.staged) == verdict.etag:
        new.output = (verdict.staged, verdict.etag)
        yield "promoted", new.to(worker, "callback")
    else:
        new.flags |= {"manifest cannot be promoted"}
        yield "staged object has changed", new.to(worker, "ack")


def cancel_jobs(rules: Rules, state: State, worker: int) -> Options[State]:
    """Cancel every job that is known and runs."""
    del rules
    new = state.copy()
    for number in state.known():
        index = state.job_of(number)
        if state.jobs[index].state == "running":
            new.jobs[index] = state.jobs[index]._replace(state="cancelled")
    yield "jobs cancelled", new.to(worker, "wipe")


def wipe(rules: Rules, state: State, worker: int) -> Options[State]:
    """Delete what was staged."""
    del rules
    new = state.copy()
    new.staged = {}
    yield "staging deleted", new.to(worker, "callback")


def callback(rules: Rules, state: State, worker: int) -> Options[State]:
    """Report the verdict to the backend."""
    work, new = state.work(worker), state.copy()
    assert state.verdict
    status = state.verdict.status
    if state.backend and status == "success":
        yield "callback 409, the backend has cancelled", new.to(worker, "withdraw", "store_delivered", "contrary")
    else:
        new.callbacks |= {status}
        yield "callback 200", new.to(worker, "store_delivered", "yes")
    if state.faults["callback_failed"]:
        failed = state.spend("callback_failed")
        if work.stage == WAKE and not rules.publish_again:
            failed.to(worker, "ack")
        else:
            failed.to(worker, "publish", Message(NOTIFY, work.seq + 1, due=state.now + 1), "ack")
        yield "callback fails", failed


def withdraw(rules: Rules, state: State, worker: int) -> Options[State]:
    """Make sure that nothing of a contrary success is visible."""
    del rules
    new = state.copy()
    new.output = None
    then, *extra = state.work(worker).extra
    yield "results withdrawn", new.to(worker, then, *extra)


def store_delivered(rules: Rules, state: State, worker: int) -> Options[State]:
    """Write that the backend has answered."""
    work, new = state.work(worker), state.copy()
    new.delivered = state.delivered or work.extra[0]
    if new.delivered == "contrary" and rules.look_again:
        new.to(worker, "publish", Message(NOTIFY, work.seq + 1, due=state.now + 1), "ack")
    else:
        new.to(worker, "ack")
    yield f"delivered {new.delivered}", new
