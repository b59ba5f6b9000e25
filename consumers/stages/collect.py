"""Collect: bring the results of the run's good slots to staging, record them as `staged`, and audit them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from consumers.engine.outcomes import Fail, Leave, Outcome, Snooze
from consumers.engine.retry import MAX_ATTEMPTS
from consumers.stages.audit import audit_staged, blocked_slots, end_of, is_picture
from consumers.stages.bring_home import Harvest, wanted_of
from consumers.stages.schedule import LONGEST
from consumers.stages.success import is_complete
from messages.bodies import Collect, Job
from messages.codec import Header
from messages.codes import Code
from messages.errors import Permanent, Rejected, RetryClass, ScfWorkersError
from services.errors import AuditDown, ResultUnusable
from services.vendors.port import JobState, JobStatus
from tasks.calls.jobs import job_of, look
from tasks.context import Services
from tasks.errors import VendorFailed
from tasks.ledger.records import CallEnd, Prompted, SlotEnd, Staged, StagedResult
from tasks.run import Task
from tasks.slots import CollectAt, Hopeless, Undecided, decide_run
from telemetry import logs
from telemetry.events import Event
from telemetry.points import reached

__all__ = ["PROMPT_TEMPLATE", "collect"]

PROMPT_TEMPLATE: Final = "prompt_template"
"""In `degraded`: the chat model gave no text, and the kind's template was taken."""

_TOO_EARLY_S: Final = 5.0
"""Seconds until a job that runs again, or shows too few results, is looked at again; each time longer by as much."""

_LEAVE_S: Final = 10.0
"""Seconds of the stage's limit that are reserved for recording the staged files."""

log = logs.get(__name__)


async def collect(header: Header, _body: Collect, task: Task, services: Services) -> Outcome:
    """Stage and audit the results of every good slot, unless an earlier collect has staged the run's results."""
    # A first message learns of another collect's set when it writes its own record.
    stored = await services.ledger.read(task.run, Staged.at()) if header.seq else None
    if stored is not None:
        return await audit_staged(task, stored.record, services)
    ends = await services.ledger.slot_ends(task.run, task.accepted.slots)
    match decide_run(task.accepted, ends):
        case Hopeless(code):
            return Fail(code)
        case Undecided():
            log.warning(Event.MESSAGE_UNPROVEN, why="the run is not decided")
            return Leave()
        case CollectAt(at) if at > services.ledger.now():
            return Snooze(at - services.ledger.now())
        case _:
            return await _stage(header, ends, task, services)


async def _stage(header: Header, ends: Mapping[int, SlotEnd], task: Task, services: Services) -> Outcome:
    """Stage the results, write `staged`, and end the run; the stored `staged` is the run's set."""
    jobs = await _jobs(ends, task, services)
    found = await look(task.run, jobs, task.recipe, services)
    lost = await _record_failures(found, task, services)
    kept = {job: status for job, status in found.items() if job.slot not in lost}
    _insist(len(kept), lost, task)
    spare = len(kept) - task.accepted.enough
    late = {job for job, status in kept.items() if not _is_ready(status, task)}
    if late and not (_is_last(header, spare, task, services) and len(late) <= spare):
        # It has ended well, and is paid: it is given up only at the deadline, or at the last call if the others are
        # enough.
        return Snooze(min(LONGEST, _TOO_EARLY_S * (1 + header.seq)), why="results_late")
    ready = {job: status for job, status in kept.items() if job not in late}
    brought = await _bring_home(Harvest(task, header.seq, services), ready, spare - len(late), header, task, services)
    record = Staged(brought.files, await _degraded(task, services), brought.job)
    stored = await services.ledger.write(task.run, Staged.at(), record)
    reached("results.staged")
    if stored.mine and brought.blocked is not None:
        return end_of(task, stored.record, brought.blocked)
    return await audit_staged(task, stored.record, services)


class _Brought(msgspec.Struct, frozen=True):
    """Results of a try to stage files."""

    files: tuple[StagedResult, ...]
    """Without those of the slots that the run does without."""
    job: str
    """The vendor's job that brought the first of them."""
    blocked: dict[int, Code] | None
    """Slots with a blocked result; None if they are not audited yet."""


async def _jobs(ends: Mapping[int, SlotEnd], task: Task, services: Services) -> tuple[Job, ...]:
    """Return the call of every good slot, in the order of the slots."""
    jobs: list[Job] = []
    for slot, end in sorted(ends.items()):
        if not end.good:
            continue
        call = await services.ledger.call(task.run, slot, end.n)
        if call is None:
            raise Permanent(f"slot {slot} of {task.run.stem} is good by a call that has no record")
        jobs.append(job_of(call))
    return tuple(jobs)


def _is_ready(status: JobStatus, task: Task) -> bool:
    return status.state is not JobState.WORKING and is_complete(status, task.recipe)


async def _record_failures(
    found: Mapping[Job, JobStatus], task: Task, services: Services
) -> dict[int, ScfWorkersError]:
    """Record which jobs that had ended well have failed after all: no later look changes that."""
    lost: dict[int, ScfWorkersError] = {}
    for job, status in found.items():
        if status.state is JobState.FAILED:
            end = CallEnd("failed", status.code, status.usage)
            await services.ledger.write(task.run, CallEnd.at(job.slot, job.n), end)
            log.warning(Event.JOB_FAILED, job=job.id, n=job.n, code=status.code, reason=status.reason)
            lost[job.slot] = VendorFailed(f"paid call {job.n} of slot {job.slot}", code=status.code)
    return lost


def _insist(kept: int, lost: Mapping[int, ScfWorkersError], task: Task) -> None:
    """Raise the first error of the lost slots if too few are left."""
    if lost and kept < task.accepted.enough:
        raise next(iter(lost.values()))


async def _bring_home(
    harvest: Harvest, found: Mapping[Job, JobStatus], spare: int, header: Header, task: Task, services: Services
) -> _Brought:
    """Stage and audit the files within the stage's limit.

    Files that are staged by an error's time are kept for the next try.
    """
    last = _is_last(header, spare, task, services)
    try:
        async with asyncio.timeout(max(1.0, task.recipe.collect_limit_s - _LEAVE_S)):
            lost = _given_up(await harvest.bring(wanted_of(found), spare=spare), spare, last=last)
            files = harvest.results({job.slot for job in found} - set(lost))
            blocked, broken = await _audit(files, task, services)
            for file in broken:
                harvest.forget(file.key)
            text = "a result cannot be audited, and is no picture"
            unusable = {file.slot: ResultUnusable(f"{text}: {file.key}") for file in broken}
            lost |= _given_up(unusable, spare - len(lost), last=last)
    except (Permanent, Rejected):
        raise
    except (Exception, asyncio.CancelledError):
        await harvest.leave_off()
        raise
    first = min((job for job in found if job.slot not in lost), key=lambda job: job.slot)
    return _Brought(tuple(file for file in files if file.slot not in lost), first.id, blocked)


async def _audit(
    files: Sequence[StagedResult], task: Task, services: Services
) -> tuple[dict[int, Code] | None, Sequence[StagedResult]]:
    """Audit files before they are the run's set: one that only looks like a picture can still be fetched again.

    Returns:
        Slots with a blocked result, or None if the audit is down or, for videos, takes its time; and the files that are
        no pictures.
    """
    if task.recipe.media == "video":
        return None, ()
    try:
        return await blocked_slots(files, services), ()
    except AuditDown as down:
        log.warning(Event.AUDIT_LATE, error=down)
        at_fault = [file for file in files if file.key == down.key]
        return None, [file for file in at_fault if not await is_picture(file.key, services)]


def _given_up(errors: Mapping[int, ScfWorkersError], spare: int, *, last: bool) -> dict[int, ScfWorkersError]:
    """Return the slots that the run does without.

    Args:
        errors: slot -> its error.
        spare: slots that the run can do without.
        last: whether this is the last try for slots that it can do without.

    Raises:
        messages.errors.ScfWorkersError: the decisive error, where another try may bring the files, or must.
    """
    lost = {slot: error for slot, error in errors.items() if last or _is_final(error)}
    waiting = [error for slot, error in errors.items() if slot not in lost]
    if len(lost) > spare or waiting:
        raise _decisive(waiting or [*lost.values()])
    return lost


def _is_final(error: ScfWorkersError) -> bool:
    """Return True if no later try can fetch the file."""
    return error.retry in {RetryClass.PERMANENT, RetryClass.REJECTED}


def _is_last(header: Header, spare: int, task: Task, services: Services) -> bool:
    """Return True if slots that fail now are done without: attempts are spent, or the last call has passed."""
    accepted = task.accepted
    late = 0 < accepted.last_call <= services.ledger.now()
    return spare > 0 and (late or header.attempt + 1 >= MAX_ATTEMPTS)


def _decisive(errors: Sequence[ScfWorkersError]) -> ScfWorkersError:
    """Return a permanent error, else an outage, else one that spends an attempt."""
    final = (error for error in errors if _is_final(error))
    outage = (error for error in errors if error.retry is not RetryClass.TRANSIENT)
    return next(final, None) or next(outage, errors[0])


async def _degraded(task: Task, services: Services) -> tuple[str, ...]:
    prompted = await services.ledger.read(task.run, Prompted.at()) if task.recipe.prompt else None
    return (PROMPT_TEMPLATE,) if prompted and prompted.record.source == "template" else ()
