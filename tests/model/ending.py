"""Steps after the verdict, and what a worker does with the broker."""

from __future__ import annotations

from tests.model.begin import finish
from tests.model.rules import Rules
from tests.model.stages import Options
from tests.model.state import NOTIFY, WAKE, Message, State

__all__ = ["ack", "callback", "cancel_jobs", "promote", "publish", "put_verdict", "store_delivered", "wipe", "withdraw"]


def put_verdict(rules: Rules, state: State, worker: int) -> Options:
    """Create the verdict; act on the one that is stored."""
    new = state.copy()
    wanted = state.work(worker).extra[0]
    mine = not state.verdict or not rules.create_only
    if mine:
        if state.verdict and state.verdict.status != wanted.status:
            new.flags |= {"verdict changed"}
        new.verdict, new.written_at = wanted, state.now
    finish(rules, new, worker, mine=mine)
    yield f"verdict {wanted.status} {wanted.cause}" + (" -> stored already" if state.verdict else ""), new


def promote(rules: Rules, state: State, worker: int) -> Options:
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


def cancel_jobs(rules: Rules, state: State, worker: int) -> Options:
    """Cancel every job that is known and runs."""
    del rules
    new = state.copy()
    for number in state.known():
        index = state.job_of(number)
        if state.jobs[index].state == "running":
            new.jobs[index] = state.jobs[index]._replace(state="cancelled")
    yield "jobs cancelled", new.to(worker, "wipe")


def wipe(rules: Rules, state: State, worker: int) -> Options:
    """Delete what was staged."""
    del rules
    new = state.copy()
    new.staged = {}
    yield "staging deleted", new.to(worker, "callback")


def callback(rules: Rules, state: State, worker: int) -> Options:
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


def withdraw(rules: Rules, state: State, worker: int) -> Options:
    """Make sure that nothing of a contrary success is visible."""
    del rules
    new = state.copy()
    new.output = None
    then, *extra = state.work(worker).extra
    yield "results withdrawn", new.to(worker, then, *extra)


def store_delivered(rules: Rules, state: State, worker: int) -> Options:
    """Write that the backend has answered."""
    work, new = state.work(worker), state.copy()
    new.delivered = state.delivered or work.extra[0]
    if new.delivered == "contrary" and rules.look_again:
        new.to(worker, "publish", Message(NOTIFY, work.seq + 1, due=state.now + 1), "ack")
    else:
        new.to(worker, "ack")
    yield f"delivered {new.delivered}", new


def publish(rules: Rules, state: State, worker: int) -> Options:
    """Publish a message and wait for the receipt."""
    message, then = state.work(worker).extra
    text = f"publish {message.stage} seq {message.seq} attempt {message.attempt} {message.cause}".rstrip()
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


def ack(rules: Rules, state: State, worker: int) -> Options:
    """Acknowledge the message."""
    del rules
    new, number = state.copy(), state.work(worker).message
    new.workers[worker] = None
    if number in state.messages and state.messages[number].holder == worker:
        if state.faults["ack_lost"]:
            yield f"ack of m{number} lost", state.spend("ack_lost").let_go(worker)
        del new.messages[number]
    yield f"ack of m{number}", new
