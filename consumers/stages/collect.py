"""Collect: bring a job's results home. Streamed from the vendor to staging, audited in one batch, then the verdict."""

from __future__ import annotations

import asyncio
from typing import Final

from consumers.engine.outcomes import Done, Outcome, Snooze, dead_lettered
from consumers.stages.audit import audited
from consumers.stages.schedule import LONGEST
from messages.bodies import Collect, Job, Reason
from messages.codec import Header
from messages.codes import Code
from messages.errors import Permanent, Rejected
from messages.keys import output_key, staging_prefix
from recipes.recipe import Recipe
from services.concurrency import Together
from services.errors import BadPicture, FetchRefused
from services.fetch import source_of
from services.objects.port import ObjectInfo, PictureRule
from services.vendors.port import JobFile, JobState, JobStatus
from tasks.calls.jobs import after_failure, look
from tasks.context import Services
from tasks.errors import IncompleteResults, VendorFailed
from tasks.ledger.records import CallEnd, ManifestItem
from tasks.run import Task
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.points import reached
from telemetry.tracing import note, span

__all__ = ["collect"]

_TOO_EARLY_S: Final = 5.0
"""Seconds until a job that works again, after it had ended, is looked at once more; each time so much longer."""

_AT_ONCE: Final = 4
"""Downloads of one job at the same time."""

log = logs.get(__name__)


async def collect(header: Header, body: Collect, task: Task, services: Services) -> Outcome:
    """Stage and audit every result of a job that has ended well."""
    job = body.job
    found = await look(task.run, (job,), task.recipe, services)
    status = found[job]
    if status.state is JobState.WORKING:
        # Each of these is marked: one that stays unknown must not fill the ledger until its deadline.
        return Snooze(min(LONGEST, _TOO_EARLY_S * (1 + header.seq)))
    if status.state is JobState.FAILED:
        left = await after_failure(task.run, found, services)
        return dead_lettered(Reason.VENDOR, VendorFailed(f"job {job.id}", code=left.code), job.n)
    if len(status.files) != task.recipe.count:
        return await _incomplete(job, status, task, services)
    manifest = await _bring_home(status.files, task, services)
    try:
        if task.recipe.audit == "pictures":
            await audited([item.source for item in manifest], services)
    except Rejected as rejected:
        # Recorded as the job's end, so that no later look brings the same results home again.
        await services.ledger.write(task.run, CallEnd.at(job.slot, job.n), CallEnd("failed", rejected.code))
        raise
    reached("collect.audited")
    return Done(manifest, job.id)


async def _incomplete(job: Job, status: JobStatus, task: Task, services: Services) -> Outcome:
    log.warning(Event.JOB_FAILED, job=job.id, n=job.n, files=len(status.files), wanted=task.recipe.count)
    await services.ledger.write(task.run, CallEnd.at(job.slot, job.n), CallEnd("failed", Code.INCOMPLETE_RESULTS))
    found = f"job {job.id} has {len(status.files)} files of {task.recipe.count}"
    return dead_lettered(Reason.VENDOR, IncompleteResults(found), job.n)


async def _bring_home(files: tuple[JobFile, ...], task: Task, services: Services) -> tuple[ManifestItem, ...]:
    folder = staging_prefix(task.run, services.ledger.nonce())
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(n: int, file: JobFile) -> ManifestItem:
        async with gate:
            return await _item(n, file, folder, task, services)

    async with Together() as group:
        jobs = [group.create_task(one(n, file)) for n, file in enumerate(files, 1)]
    return tuple(job.result() for job in jobs)


async def _item(n: int, file: JobFile, folder: str, task: Task, services: Services) -> ManifestItem:
    name = task.recipe.result.format(n, task.recipe.extension)
    try:
        raw = await _store(file, f"{folder}raw_{n:02d}", folder + name, task.recipe, services)
        final = raw.key == folder + name
        stored = raw if final else await _convert(raw.key, folder + name, task.recipe.extension, services)
    except (BadPicture, FetchRefused) as error:
        # The vendor's fault: the user's picture was fine, and the catalogue's advice to mend it would mislead.
        raise Permanent(f"result {n} cannot be used: {error}", code=Code.VENDOR_FAILED) from error
    reached("collect.staged")
    log.info(Event.RESULT_STORED, key=stored.key, size=stored.size)
    return ManifestItem(stored.key, output_key(task.run, name), stored.etag, stored.size)


async def _store(file: JobFile, raw: str, final: str, recipe: Recipe, services: Services) -> ObjectInfo:
    """Stream a result to staging: under its final name when it is in the format that is sold, else beside it.

    Raises:
        services.errors.FetchRefused: it is not in the format that is sold, and nothing here could convert it.
    """
    with span(SpanName.DOWNLOAD, key=final):
        async with services.fetcher.open(file.url) as download:
            # By its bytes: vendors' names for types have been wrong.
            key = final if download.content_type == recipe.content_type else raw
            if key == raw and recipe.media != "image":
                raise FetchRefused(f"a {download.content_type} where {recipe.content_type} is sold")
            stored = await services.objects.put(key, source_of(download), content_type=download.content_type)
        note(size=stored.size)
        return stored


async def _convert(raw: str, final: str, sold: str, services: Services) -> ObjectInfo:
    rule = PictureRule(final, f"imageMogr2/format/{sold}/quality/95/strip")
    with span(SpanName.PROCESS, key=final):
        made = (await services.objects.process(raw, [rule])).outputs[0]
    return ObjectInfo(made.key, made.etag, made.size, 0.0)
