"""Replays of dead letters: an audit record, then the effect of the plan. Doing it again goes on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from messages.keys import RunId
from tasks.context import ReplayServices
from tasks.dead_letters.letters import LetterId, replayed_key
from tasks.dead_letters.plan import Action, Plan, Refusal, decide, next_accepted
from tasks.dead_letters.standing import Case, Standing, read_standing
from tasks.ledger.operators import Replayed, audit_text
from tasks.ledger.records import Accepted
from tasks.wakes import publish_wake
from telemetry import logs
from telemetry.events import Event
from telemetry.tracing import new_traceparent

__all__ = ["Request", "Step", "plan_all", "replay_all"]

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
    """Greatest number of replays; 0 for no limit. Those that are resumed do not count."""


class Step(msgspec.Struct, frozen=True):
    """A letter and its plan."""

    case: Case
    plan: Plan


def plan_all(cases: Sequence[Case], request: Request) -> list[Step]:
    """Return the plan of each letter's replay; the letters beyond `most` are left out."""
    steps: list[Step] = []
    seen: set[RunId] = set()
    done = 0
    for case in cases:
        plan = _plan(case, request, seen)
        if _counts(plan):
            if 0 < request.most <= done:
                break
            done += 1
        seen |= _runs_of(case, plan)
        steps.append(Step(case, plan))
    return steps


def _counts(plan: Plan) -> bool:
    """Return True if a plan counts against `most`.

    A replay that an earlier command has begun does not count: otherwise a cap would never reach the letters after it.
    """
    return plan.acts and plan.does is not Action.RESUME


def _plan(case: Case, request: Request, seen: AbstractSet[RunId]) -> Plan:
    """Return the plan, or a refusal if another letter of the same run came before."""
    plan = decide(case, again=request.again)
    return Plan(Refusal.DUPLICATE, plan.run) if seen & _runs_of(case, plan) else plan


def _runs_of(case: Case, plan: Plan) -> set[RunId]:
    """Return the runs that a replay is about: the letter's own, and the one that is delivered, woken or begun."""
    if not isinstance(case.standing, Standing) or not plan.acts:
        return set()
    own = case.standing.own.run
    return {own, msgspec.structs.replace(own, run=plan.run)}


async def replay_all(cases: Sequence[Case], request: Request, services: ReplayServices) -> AsyncIterator[Step]:
    """Replay letters one after another, and yield the effect of each.

    Each run is read again right before it is replayed, because it may have changed since it was selected.

    Raises:
        messages.errors.ScfWorkersError: a service failed. Replaying again goes on where this stopped.
    """
    await services.ledger.ask_time()
    loop = asyncio.get_running_loop()
    seen: set[RunId] = set()
    done, due = 0, 0.0
    for case in cases:
        fresh = await _fresh(case, services)
        plan = _plan(fresh, request, seen)
        if _counts(plan) and 0 < request.most <= done:
            return
        if plan.acts and loop.time() < due:
            await asyncio.sleep(due - loop.time())
            fresh = await _fresh(case, services)
            plan = _plan(fresh, request, seen)
        if plan.acts:
            await _act(fresh, plan, request, services)
            done += _counts(plan)
            due = loop.time() + (1 / request.rate if request.rate > 0 else 0.0)
        seen |= _runs_of(fresh, plan)
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
        audit = Replayed(str(plan.does), plan.run, audit_text(request.by), audit_text(request.why), now)
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
        by=audit_text(request.by),
        why=audit_text(request.why),
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
