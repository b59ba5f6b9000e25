"""The model of a run with one slot: all its moves, the faults that may still happen, and its promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.model import ending, stages
from tests.model.begin import begin
from tests.model.harness import CLEAN, COLLECT, GENERATE, WAKE, Message, Verdict
from tests.model.model import Model
from tests.model.rules import Fault, Rules
from tests.model.state import State, first_state
from tests.model.steps import Options, ack, mark, publish

__all__ = ["RunModel"]

_STEPS: Final[Mapping[str, Callable[[Rules, State, int], Options[State]]]] = {
    "mark": mark,
    CLEAN: stages.clean,
    GENERATE: stages.generate,
    COLLECT: stages.collect,
    "give_up": stages.give_up,
    "intent": stages.intent,
    "post": stages.post,
    "store_id": stages.store_id,
    "read_again": stages.read_again,
    "end_call": stages.end_call,
    "query": stages.query,
    "put_verdict": ending.put_verdict,
    "promote": ending.promote,
    "cancel_jobs": ending.cancel_jobs,
    "wipe": ending.wipe,
    "callback": ending.callback,
    "withdraw": ending.withdraw,
    "store_delivered": ending.store_delivered,
    "publish": publish,
    "ack": ack,
}


class RunModel(Model[State]):
    """A run of a kind with one slot."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def first(self, faults: Mapping[Fault, int], workers: int = 2) -> State:
        """The state in which a run was just accepted."""
        return first_state(faults, workers)

    def begin(self, deadline: int, state: State, worker: int) -> str:
        """Send a worker to the first effect of the message that it has just taken."""
        return begin(self.rules, deadline, state, worker)

    def steps(self, state: State, worker: int) -> Options[State]:
        """The next step of a busy worker."""
        return _STEPS[state.work(worker).step](self.rules, state, worker)

    def outside(self, state: State) -> Options[State]:
        """Moves of the vendor, the backend, the producers and the clock."""
        return _outside(state)

    def broken(self, state: State) -> list[str]:
        """Promises that output, callbacks and payments break."""
        broken, verdict = [], state.verdict
        wanted = (verdict.staged, verdict.etag) if verdict and verdict.status == "success" else None
        if state.output and state.output != wanted:
            broken.append("output is not of the verdict")
        if state.output and state.delivered == "contrary" and state.quiet():
            broken.append("results of a refunded task stay visible")
        if len(state.callbacks) > 1:
            broken.append("two different callbacks")
        given_up = sum("G" in call.ends for call in state.calls.values())
        most = 1 + (given_up if self.rules.unknown == "resend" else 0)
        if len(state.jobs) > most:
            broken.append(f"paid {len(state.jobs)} times, allowed {most}")
        return broken

    def end_broken(self, end: State) -> list[str]:
        """A success must be visible, unless the backend has cancelled."""
        lost = end.verdict and end.verdict.status == "success" and not end.output and not end.backend
        return ["success without output"] if lost else []

    def may_wait(self, state: State) -> bool:
        """A call whose outcome is unknown, or a job that failed, may leave the run to its deadline."""
        return bool(state.flags & {"unknown", "job_failed"})


def _outside(state: State) -> Options[State]:
    for index, job in enumerate(state.jobs):
        yield from _job(state, index, job.state)
    if state.faults["sweep"] and not state.delivered:
        new = state.spend("sweep")
        new.publish(Message(WAKE, cause="sweep"))
        yield "sweep publishes a wake", new
    if state.faults["cancel"]:
        new = state.spend("cancel")
        new.verdict = new.verdict or Verdict("cancelled", cause="cancel")
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


def _job(state: State, index: int, at: str) -> Options[State]:
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
