"""Wake: look at a run once and leave. `next_step` alone decides what is done.

Before that, a webhook's hint may bring the id of a paid call whose answer was lost; see `tasks.calls.hints`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import msgspec

from consumers.engine import outcomes
from consumers.engine.operator_pause import pause_of
from consumers.engine.outcomes import For, Leave, Many, Next, Outcome, dead_lettered
from consumers.stages.schedule import LONGEST
from consumers.stages.success import is_complete, succeeded
from messages.bodies import Audit, Body, Clean, Collect, Generate, Job, Notify, Poll, Prompt, Reason, Stage, Wake
from messages.codec import Header
from messages.codes import Code
from messages.errors import Outage, ScfWorkersError
from messages.keys import RunId
from services.errors import VendorDown
from services.repeat import repeated
from services.vendors.port import JobState
from tasks.accepting.accept import NotHere, take_in
from tasks.accepting.inputs import find_upload
from tasks.accepting.overdue import is_overdue
from tasks.calls.find import find_open
from tasks.calls.hints import is_over, take_hint
from tasks.calls.jobs import after_failure, first_success, job_of, look
from tasks.context import Services
from tasks.ending.finish import LEFT_TO_WRITER_S
from tasks.ending.verdict import give_verdict
from tasks.errors import CallUnknown, VendorFailed
from tasks.ledger.records import ReopenDenied, Reopened, Reopening, Verdict
from tasks.ledger.snapshot import PaidCall, Snapshot, calls_of
from tasks.next_step import (
    AskInput,
    AskReopen,
    AwaitBuild,
    DeadCall,
    DenyReopen,
    Expire,
    Fail,
    FinishRun,
    Look,
    Needs,
    Nothing,
    Publish,
    Step,
    next_step,
)
from tasks.run import as_accepted, known_recipe
from tasks.wakes import INDEX, LETTER, REDELIVER, SWEEP, WEBHOOK, current_run
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.tracing import current, note, span

__all__ = ["wake"]

log = logs.get(__name__)

_BODIES: Final[dict[Stage, Body]] = {
    Stage.CLEAN: Clean(),
    Stage.PROMPT: Prompt(),
    Stage.COLLECT: Collect(),
    Stage.AUDIT: Audit(),
}
"""Bodies of the stages whose messages belong to the run; those of a slot hold its number."""


async def wake(header: Header, body: Wake, services: Services) -> Outcome:
    """Look once. A wake without a run means the highest one that was accepted."""
    found = await services.ledger.snapshot(await current_run(header.run_id, services.ledger))
    traceparent = found.accepted.traceparent if found.accepted else ""
    with span(SpanName.WOKEN, traceparent, link=current(), why=body.why) as inner:
        note(function="consumers.wake", user_id=header.user, task_id=header.task)
        if body.why == INDEX and found.accepted:
            await services.ledger.index(header.user, header.task, found.accepted.created)
            return Leave()
        snapshot = await take_hint(body.job, found, services) if body.job else found
        if snapshot is None:
            return Leave()
        # By the time before the question: a call that was not found before a freeze must be looked for again after it.
        asked_at = services.ledger.now()
        snapshot, away = await _found(snapshot, services)
        outcome = await _do_all(_decide(snapshot, asked_at, services), snapshot, body, services, away)
        return For(_resolved(header, snapshot, inner or header.traceparent), outcome)


async def _found(snapshot: Snapshot, services: Services) -> tuple[Snapshot, dict[int, Outage]]:
    """Return the run with the jobs that its vendors find for its open calls.

    Returns:
        The run, and slot -> the error of those whose vendor could not be asked: none of their calls may count as
        unknown. For a run that is over no vendor is asked.
    """
    if is_over(snapshot, services):
        return snapshot, {}
    calls: list[PaidCall] = []
    away: dict[int, Outage] = {}
    for slot in dict.fromkeys(call.slot for call in snapshot.calls):
        own = calls_of(snapshot.calls, slot)
        try:
            own = await find_open(snapshot.run, own, services)
        except VendorDown as error:
            away[slot] = error
        calls.extend(own)
    return msgspec.structs.replace(snapshot, calls=tuple(calls)), away


def _resolved(header: Header, snapshot: Snapshot, traceparent: str) -> Header:
    """Return the wake's header with the fields of the run instead of the waker's."""
    accepted = snapshot.accepted
    if accepted is None:
        return msgspec.structs.replace(header, run=snapshot.run.run, traceparent=traceparent)
    return msgspec.structs.replace(as_accepted(header, accepted), run=snapshot.run.run, traceparent=traceparent)


def _decide(snapshot: Snapshot, now: float, services: Services) -> tuple[Step, ...]:
    accepted = snapshot.accepted
    recipe = services.recipes.get(accepted.kind) if accepted else None
    needs = Needs(prompt=recipe.prompt is not None, vendor=bool(recipe.vendor)) if recipe else None
    return next_step(snapshot, now, needs=needs)


async def _do_all(
    steps: tuple[Step, ...],
    snapshot: Snapshot,
    body: Wake,
    services: Services,
    away: Mapping[int, Outage] = MappingProxyType({}),
) -> Outcome:
    """Carry out every step. A vendor that is down for one slot stops no other slot.

    Raises:
        messages.errors.Outage: nothing else is due.
    """
    due: list[Outcome] = []
    errors: list[Outage] = []
    for step in steps:
        if isinstance(step, DeadCall) and step.unknown and step.slot in away:
            errors.append(away[step.slot])
            continue
        try:
            outcome = await _do(step, snapshot, body, services)
        except VendorDown as error:
            errors.append(error)
        else:
            if not isinstance(outcome, Leave):
                due.append(outcome)
    if errors and not due:
        raise errors[0]
    return due[0] if len(due) == 1 else Many(tuple(due)) if due else Leave()


async def _do(step: Step, snapshot: Snapshot, body: Wake, services: Services) -> Outcome:
    run = snapshot.run
    match step:
        case FinishRun():
            # A hint or a letter meets a verdict that another message has just written, or wrote long ago.
            delay = LEFT_TO_WRITER_S if body.why in {WEBHOOK, LETTER} else 0.0
            return _conclude(snapshot, services, again=body.why == REDELIVER, delay=delay)
        case Nothing():
            return Leave()
        case AskInput():
            return await _ask_input(snapshot, body, services)
        case AskReopen():
            return await _ask_reopen(snapshot, body, services)
        case AwaitBuild():
            raise Outage(f"this build does not know the kind {_kind(snapshot)!r}")
        case DenyReopen():
            return await _deny_reopen(snapshot, body, services)
        case Expire():
            await give_verdict(run, Verdict("failed", Code.TIMEOUT), services.ledger, kind=_kind(snapshot))
            return _conclude(snapshot, services)
        case Fail(code):
            return outcomes.Fail(code)
        case Publish(stage, seq, slot):
            if body.why == SWEEP and await pause_of(stage, snapshot.accepted, services):
                # Its message comes again and again without a trace. If it is lost, a sweep after the pause finds out.
                return Leave()
            return Next(stage, Generate(slot) if slot else _BODIES[stage], seq=seq)
        case Look() | DeadCall():
            return await _do_call(step, snapshot, body, services)


async def _do_call(step: Look | DeadCall, snapshot: Snapshot, body: Wake, services: Services) -> Outcome:
    if isinstance(step, Look):
        # The message whose letter it was may have been the last one of its slot.
        return await _look(step, snapshot, services, go_on=body.why == LETTER)
    text = f"paid call {step.n} of slot {step.slot}"
    if step.unknown:
        return dead_lettered(Reason.UNKNOWN, CallUnknown(text, code=step.code), step.n, step.slot)
    return dead_lettered(Reason.VENDOR, VendorFailed(text, code=step.code), step.n, step.slot)


def _kind(snapshot: Snapshot) -> str:
    return snapshot.accepted.kind if snapshot.accepted else ""


def _conclude(snapshot: Snapshot, services: Services, *, again: bool = False, delay: float = 0.0) -> Outcome:
    """Publish `notify`: only a message that is not yet acked may show results or withdraw them."""
    shown = snapshot.verdict is not None and snapshot.verdict.status == "success" and snapshot.delivered
    if shown and not snapshot.conflict and not again:
        return Leave()
    body = Notify(int(services.ledger.now() * 1000), again)
    return Next(Stage.NOTIFY, body, delay, seq=snapshot.next_seq(Stage.NOTIFY))


async def _ask_input(snapshot: Snapshot, body: Wake, services: Services) -> Outcome:
    run, code, patience = snapshot.run, Code.NOT_UPLOADED, 1
    try:
        if await _take_in(run, services):
            return Leave()
    except Exception as error:
        patience = _patience_with(error)
        if not _is_upload_late(body, services, patience=patience):
            raise
        # An error in an upload must not leave its task without a verdict.
        log.error(Event.UPLOAD_FAILED, error=error)
        code = error.code if isinstance(error, ScfWorkersError) else Code.INTERNAL
    # The message's age only says when it is worth asking; the backend's own word decides.
    late = _is_upload_late(body, services, patience=patience)
    if not late or not await is_overdue(run, patience * services.policy.upload_limit_s, services):
        return Leave()
    # `accepted` is read again before `failed` is written: another build, or the upload's event, may have accepted it.
    if await services.ledger.accepted(run):
        return Leave()
    await give_verdict(run, Verdict("failed", code), services.ledger, at_door=True)
    return _conclude(snapshot, services)


async def _take_in(run: RunId, services: Services) -> bool:
    """Return True if an upload decides about this task."""
    found = partial(find_upload, run.user, run.task, services.objects, run.step)
    upload = await repeated(found, services.rng)
    return upload is not None and await take_in(upload, services) != "rejected"


def _is_upload_late(body: Wake, services: Services, *, patience: int) -> bool:
    return body.since > 0 and services.ledger.now() >= body.since / 1000 + patience * services.policy.upload_limit_s


def _patience_with(error: Exception) -> int:
    """Return for how many upload limits acceptance may fail: an outage may end, a newer build may come."""
    return 2 if isinstance(error, Outage) and not isinstance(error, NotHere) else 1


async def _deny_reopen(snapshot: Snapshot, body: Wake, services: Services) -> Outcome:
    """Deny a replay that came too late, unless another wake is asking the backend: then it may have been charged."""
    stored = await services.ledger.write(snapshot.run, Reopening.at(), Reopening(asked=False))
    if stored.record.asked:
        asking = msgspec.structs.replace(snapshot, reopening=True)
        return await _do_all(_decide(asking, services.ledger.now(), services), asking, body, services)
    await services.ledger.write(snapshot.run, ReopenDenied.at(), ReopenDenied())
    return Leave()


async def _ask_reopen(snapshot: Snapshot, body: Wake, services: Services) -> Outcome:
    run, ledger = snapshot.run, services.ledger
    # Before the question: if its answer is lost, the run ends with a verdict, so that a charge is refunded.
    stored = await ledger.write(run, Reopening.at(), Reopening())
    if not stored.record.asked or not await services.backend.reopen(run.task, run.step, run.run):
        await ledger.write(run, ReopenDenied.at(), ReopenDenied())
        return Leave()
    await ledger.write(run, Reopened.at(), Reopened())
    agreed = msgspec.structs.replace(snapshot, reopening=True, reopened=True)
    return await _do_all(_decide(agreed, services.ledger.now(), services), agreed, body, services)


async def _look(step: Look, snapshot: Snapshot, services: Services, *, go_on: bool) -> Outcome:
    """Look once at the jobs of a slot.

    Args:
        step: the slot and its calls.
        snapshot: the run's state.
        services: the bundle of services.
        go_on: whether jobs at work are polled from now on; else the slot's own messages do that.
    """
    slot, jobs = step.slot, tuple(job_of(call) for call in step.calls)
    recipe = known_recipe(_kind(snapshot), services.recipes)
    found = await look(snapshot.run, jobs, recipe, services)
    if winner := first_success(found):
        if winner.id and not is_complete(found[winner], recipe):
            # Its time to show the rest is counted by the looks of a chain.
            return _poll(step, jobs, snapshot)
        seq = snapshot.next_seq(Stage.COLLECT)
        return await succeeded(snapshot.run, winner, found[winner], services, seq=seq)
    if all(status.state is JobState.WORKING for status in found.values()):
        return _poll(step, jobs, snapshot, LONGEST) if go_on else Leave()
    left = await after_failure(snapshot.run, slot, found, services)
    if left.live or left.open:
        return Leave()
    text = f"paid call {left.n} of slot {slot}"
    return dead_lettered(Reason.VENDOR, VendorFailed(text, code=left.code), left.n, slot)


def _poll(step: Look, jobs: tuple[Job, ...], snapshot: Snapshot, delay: float = 0.0) -> Next:
    """Begin a chain of looks. It ends at its first marked message if the slot has another chain."""
    since = min(call.at for call in calls_of(snapshot.calls, step.slot))
    body = Poll(jobs, int(since * 1000), slot=step.slot)
    return Next(Stage.POLL, body, delay, snapshot.next_seq(Stage.POLL, step.slot))
