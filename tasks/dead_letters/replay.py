"""Replays of dead letters: an audit record, then the effect of the plan. Doing it again goes on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from messages.keys import RunId
from tasks.context import ReplayServices
from tasks.dead_letters.letters import LetterId, replayed_key
from tasks.dead_letters.plan import Action, Plan, Refusal, decide, next_accepted
from tasks.dead_letters.standing import Case, Standing, read_standing
from tasks.ledger.operators import Replayed
from tasks.ledger.records import Accepted
from tasks.wakes import publish_wake
from telemetry import logs
from telemetry.events import Event
from telemetry.tracing import new_traceparent

__all__ = ["Request", "Step", "plan_all", "replay_all"]

_CUT: Final = 200
"""Characters kept of an operator's name and reason."""

log = logs.get(__name__)


class Request(msgspec.Struct, frozen=True):
    """An operator's request."""

    by: str
    """Name of the operator."""
    why: str = ""
    again: bool = False
    """Begin another run also where an earlier replay's run has failed."""
    rate: float = 10.0
    """Greatest number of replays a second; 0 for no limit."""
    most: int = 0
    """Greatest number of replays; 0 for no limit."""


class Step(msgspec.Struct, frozen=True):
    """A letter and its plan."""

    case: Case
    plan: Plan


def plan_all(cases: Sequence[Case], request: Request) -> list[Step]:
    """Return what a replay of each letter would do; the letters beyond `most` are left out."""
    steps: list[Step] = []
    seen: set[RunId] = set()
    for case in cases:
        plan = _unless_seen(case, decide(case, again=request.again), seen)
        if plan.acts and 0 < request.most <= sum(step.plan.acts for step in steps):
            break
        steps.append(Step(case, plan))
    return steps


def _unless_seen(case: Case, plan: Plan, seen: set[RunId]) -> Plan:
    """Return the plan, or a refusal if another letter of the same run came before."""
    if not isinstance(case.standing, Standing) or not plan.acts:
        return plan
    run = case.standing.own.run
    if run in seen:
        return Plan(Refusal.DUPLICATE, plan.run)
    seen.add(run)
    return plan


async def replay_all(cases: Sequence[Case], request: Request, services: ReplayServices) -> AsyncIterator[Step]:
    """Replay letters one after another, and yield what was done about each.

    Each run is read again before it is replayed, because it may have changed since it was selected.

    Raises:
        messages.errors.ScfWorkersError: a service failed. Replaying again goes on where this stopped.
    """
    await services.ledger.ask_time()
    seen: set[RunId] = set()
    done = 0
    for case in cases:
        fresh = await _fresh(case, services)
        plan = _unless_seen(fresh, decide(fresh, again=request.again), seen)
        if plan.acts:
            if 0 < request.most <= done:
                return
            if done and request.rate > 0:
                await asyncio.sleep(1 / request.rate)
            await _act(fresh, plan, request, services)
            done += 1
        yield Step(fresh, plan)


async def _fresh(case: Case, services: ReplayServices) -> Case:
    if not isinstance(case.standing, Standing):
        return case
    standing = await read_standing(case.standing.own.run, services.ledger)
    return msgspec.structs.replace(case, standing=standing)


async def _act(case: Case, plan: Plan, request: Request, services: ReplayServices) -> None:
    """Write the audit record, accept the new run, publish a wake: in this order, so that a repeat completes it."""
    standing = case.standing
    if not isinstance(standing, Standing):
        raise TypeError("a letter without a run is not replayed")
    ledger, now = services.ledger, services.ledger.now()
    run = msgspec.structs.replace(standing.own.run, run=plan.run)
    if plan.does is not Action.RESUME:
        audit = Replayed(str(plan.does), plan.run, request.by[:_CUT], request.why[:_CUT], now)
        await _record(case.letter.id, audit, services)
    if plan.does is Action.NEW_RUN:
        old = standing.current.accepted
        if old is None:
            raise TypeError("a run that was never accepted is not replayed")
        await ledger.write(run, Accepted.at(), next_accepted(old, now, new_traceparent()))
    await publish_wake(run, "replay", services.broker, now, keys=services.keys)
    log.info(
        Event.DEAD_LETTER_REPLAYED,
        key=case.letter.id.text,
        fingerprint=case.letter.id.fingerprint,
        user_id=run.user,
        task_id=run.task,
        step=run.step,
        run=run.run,
        action=str(plan.does),
        by=request.by[:_CUT],
        why=request.why[:_CUT],
    )


async def _record(letter: LetterId, audit: Replayed, services: ReplayServices) -> None:
    """Create the next audit record; a new run has one, however often it is asked for."""
    n = 1
    while True:
        stored = await services.ledger.write_key(replayed_key(letter, n), audit)
        new_run = audit.action == Action.NEW_RUN
        if stored.mine or (new_run and (stored.record.action, stored.record.run) == (audit.action, audit.run)):
            return
        n += 1
