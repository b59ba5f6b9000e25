"""Collect: bring a job's results home. Streamed from the vendor to staging, audited in one batch, then the verdict."""

from __future__ import annotations

import asyncio
from typing import Final

from consumers.audit import audited
from consumers.looking import after_failure, look, vendor_of
from consumers.outcomes import Bury, Done, Next, Outcome
from consumers.task import Task
from messages.bodies import Collect, Job, Poll, Reason, Stage
from messages.codec import Message
from messages.codes import Code
from messages.keys import output_key, staging_prefix
from runtime.outside import Outside
from services.concurrency import Together
from services.fetch import source_of
from services.objects.port import ObjectInfo, PictureRule
from services.records import End, ManifestItem
from services.vendors.port import JobFile, JobState, JobStatus
from telemetry import logs
from telemetry.events import Event
from telemetry.points import reached

__all__ = ["collect"]

_AT_ONCE: Final = 4
"""Downloads of one job at the same time."""

_SAME: Final = {"jpeg": "jpg"}

log = logs.get(__name__)


async def collect(message: Message, task: Task | None, out: Outside) -> Outcome:
    """Stage and audit every result of a job that has ended well."""
    body = message.body
    assert isinstance(body, Collect)
    assert task is not None
    job = body.job
    found = await look((job,), task.recipe.kind, vendor_of(task.recipe.vendor, out))
    status = found[job]
    if status.state is JobState.WORKING:
        return Next(Stage.POLL, Poll((job,), message.header.created), 1.0)
    if status.state is JobState.FAILED:
        left = await after_failure(task.run, found, out)
        return Bury(Reason.VENDOR, left.code, "VendorFailed", job.n)
    if len(status.files) != task.recipe.count:
        return await _incomplete(job, status, task, out)
    manifest = await _bring_home(status.files, task, out)
    await audited([item.source for item in manifest], out)
    reached("collect.audited")
    return Done(manifest, job.id)


async def _incomplete(job: Job, status: JobStatus, task: Task, out: Outside) -> Outcome:
    log.warning(Event.JOB_FAILED, job=job.id, n=job.n, files=len(status.files), wanted=task.recipe.count)
    await out.ledger.write(task.run, f"vendor-{job.n}-end", End("failed", Code.INCOMPLETE_RESULTS))
    return Bury(Reason.VENDOR, Code.INCOMPLETE_RESULTS, "IncompleteResults", job.n)


async def _bring_home(files: tuple[JobFile, ...], task: Task, out: Outside) -> tuple[ManifestItem, ...]:
    folder = staging_prefix(task.run, out.ledger.nonce())
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(n: int, file: JobFile) -> ManifestItem:
        async with gate:
            return await _item(n, file, folder, task, out)

    async with Together() as group:
        jobs = [group.create_task(one(n, file)) for n, file in enumerate(files, 1)]
    return tuple(job.result() for job in jobs)


async def _item(n: int, file: JobFile, folder: str, task: Task, out: Outside) -> ManifestItem:
    sold = task.recipe.extension
    kind = _SAME.get(file.type, file.type)
    name = task.recipe.result.format(n, sold)
    if kind == sold:
        stored = await _store(file, folder + name, sold, out)
    else:
        raw = await _store(file, f"{folder}raw_{n:02d}.{kind}", kind, out)
        rule = PictureRule(folder + name, f"imageMogr2/format/{sold}/quality/95/strip")
        made = (await out.objects.process(raw.key, [rule])).outputs[0]
        stored = ObjectInfo(made.key, made.etag, made.size, 0.0)
    reached("collect.staged")
    log.info(Event.RESULT_STORED, key=stored.key, size=stored.size)
    return ManifestItem(stored.key, output_key(task.run, name), stored.etag, stored.size)


async def _store(file: JobFile, key: str, kind: str, out: Outside) -> ObjectInfo:
    async with out.fetcher.open(file.url) as download:
        content_type = f"image/{'jpeg' if kind == 'jpg' else kind}"
        return await out.objects.put(key, source_of(download), content_type=content_type)
