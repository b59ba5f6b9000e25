"""Collect: bring a job's results to staging, audit them in one batch, then write the verdict."""

from __future__ import annotations

import asyncio
from typing import Final

from consumers.engine.outcomes import Done, Leave, Outcome, Snooze, dead_lettered
from consumers.stages.audit import audited
from consumers.stages.bring_home import Harvest
from consumers.stages.schedule import LONGEST
from messages.bodies import Collect, Job, Reason, Stage
from messages.codec import Header
from messages.codes import Code
from messages.errors import Permanent, Rejected
from services.errors import AuditDown
from services.vendors.port import JobState, JobStatus
from tasks.calls.jobs import after_failure, look
from tasks.context import Services
from tasks.errors import IncompleteResults, VendorFailed
from tasks.ledger.records import Begun, CallEnd, ManifestItem
from tasks.run import Task
from telemetry import logs
from telemetry.events import Event
from telemetry.points import reached

__all__ = ["INCOMPLETE_S", "collect"]

INCOMPLETE_S: Final = 60.0
"""Seconds for which a successful job may show fewer results than were sold: vendors are eventually consistent."""

_TOO_EARLY_S: Final = 5.0
"""Seconds until a job that runs again, or shows too few results, is looked at again; each time longer by as much."""

_LEAVE_S: Final = 10.0
"""Seconds of the stage's limit that are reserved for recording the staged files."""

log = logs.get(__name__)


async def collect(header: Header, body: Collect, task: Task, services: Services) -> Outcome:
    """Stage and audit every result of a successful job."""
    job = body.job
    if (other := await _other_end(job, task, services)) is not None:
        return other
    found = await look(task.run, (job,), task.recipe, services)
    status = found[job]
    if status.state is JobState.WORKING:
        return Snooze(_later(header))
    if status.state is JobState.FAILED:
        left = await after_failure(task.run, found, services)
        return dead_lettered(Reason.VENDOR, VendorFailed(f"job {job.id}", code=left.code), job.n)
    if len(status.files) != task.recipe.count:
        return await _incomplete(header, body, status, task, services)
    manifest = await _bring_home(header, job, status, task, services)
    reached("collect.audited")
    return Done(manifest, job.id)


def _later(header: Header) -> float:
    # Each of these is marked: one that stays unknown must not fill the ledger until its deadline.
    return min(LONGEST, _TOO_EARLY_S * (1 + header.seq))


async def _incomplete(header: Header, body: Collect, status: JobStatus, task: Task, services: Services) -> Outcome:
    """Look again for a while; then the job counts as failed."""
    job, now = body.job, services.ledger.now()
    first = await services.ledger.read(task.run, Begun.at(Stage.COLLECT, 0))
    # No message has seen too few before the first one that looked.
    short_since = max(body.short_since / 1000 or now, first.at if first else now)
    log.warning(Event.JOB_FAILED, job=job.id, n=job.n, files=len(status.files), wanted=task.recipe.count)
    left = short_since + INCOMPLETE_S - now
    # Results that came with the answer are in the ledger: they stay as they are.
    if job.id and left > 0:
        return Snooze(min(_later(header), max(left, 1.0)), body=Collect(job, short_since=int(short_since * 1000)))
    await services.ledger.write(task.run, CallEnd.at(job.slot, job.n), CallEnd("failed", Code.INCOMPLETE_RESULTS))
    found = f"job {job.id} has {len(status.files)} files of {task.recipe.count}"
    return dead_lettered(Reason.VENDOR, IncompleteResults(found), job.n)


async def _bring_home(
    header: Header, job: Job, status: JobStatus, task: Task, services: Services
) -> tuple[ManifestItem, ...]:
    """Stage and audit within the stage's limit; files that are staged by then are kept for the next try."""
    harvest = Harvest(task, job, header.seq, services)
    try:
        async with asyncio.timeout(max(1.0, task.recipe.collect_limit_s - _LEAVE_S)):
            manifest = await harvest.bring(status.files)
            try:
                await _audit(manifest, job, task, services)
            except AuditDown as down:
                # Without a finding for one picture, that may not be a picture at all.
                if down.key:
                    await harvest.examine(down.key)
                raise
    except (Permanent, Rejected):
        raise
    except (Exception, asyncio.CancelledError):
        await harvest.leave_off()
        raise
    return manifest


async def _audit(manifest: tuple[ManifestItem, ...], job: Job, task: Task, services: Services) -> None:
    try:
        if task.recipe.audit == "pictures":
            await audited([item.source for item in manifest], services)
    except Rejected as rejected:
        # Recorded as the job's end, so that no later look brings the same results home again.
        await services.ledger.write(task.run, CallEnd.at(job.slot, job.n), CallEnd("failed", rejected.code))
        raise


async def _other_end(job: Job, task: Task, services: Services) -> Outcome | None:
    """Return the outcome if the message's job is no live call of this run; None if it is one."""
    call = await services.ledger.call(task.run, job.slot, job.n)
    if call is None or call.open or call.job != job.id:
        log.warning(Event.MESSAGE_UNPROVEN, n=job.n, job=job.id, why="the job is none of this run's")
        return Leave()
    if call.end is None:
        return None
    # An earlier look has recorded its bad end, and perhaps died before it could say so.
    return dead_lettered(Reason.VENDOR, VendorFailed(f"job {job.id}", code=call.end.code), job.n)
