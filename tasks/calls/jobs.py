"""A look at the jobs of a run: shared by the poll chain, wakes and collect."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec

from messages.bodies import Job
from messages.codes import Code
from messages.keys import RunId
from recipes.recipe import Recipe
from services.concurrency import Together
from services.errors import VendorMissing
from services.repeat import repeated
from services.vendors.port import JobFile, JobState, JobStatus, Vendor
from services.vendors.registry import Vendors
from tasks.context import Services
from tasks.ledger.records import CallEnd, CallResult, JobId
from tasks.ledger.snapshot import PaidCall, live_jobs, open_calls
from telemetry import logs
from telemetry.events import Event

__all__ = ["After", "after_failure", "first_success", "is_own", "job_of", "look", "vendor_of"]

log = logs.get(__name__)


def vendor_of(name: str, vendors: Vendors, label: str = "") -> Vendor:
    """Return the vendor's client.

    Args:
        name: of the vendor.
        vendors: those of this machine.
        label: of the key that a call was made with: no other account knows its job. Empty for any.

    Raises:
        services.errors.VendorMissing: the vendor or that key is not configured on this machine: no task's fault.
    """
    vendor = vendors.of(name, label)
    if vendor is not None:
        return vendor
    if not label or not vendors.all(name):
        log.error(Event.VENDOR_MISSING, vendor=name)
        raise VendorMissing(f"the vendor {name!r} is not configured here: set its key")
    log.error(Event.VENDOR_MISSING, vendor=name, label=label)
    here = ", ".join(repr(client.label) for client in vendors.all(name))
    raise VendorMissing(f"the vendor {name!r} has the keys {here} here, and a call was made with {label!r}")


async def is_own(run: RunId, job: Job, services: Services) -> bool:
    """Return True if the ledger has a job that a message names as that of a paid call of this run."""
    if not job.id:
        return await services.ledger.read(run, CallResult.at(job.slot, job.n)) is not None
    stored = await services.ledger.read(run, JobId.at(job.slot, job.n))
    return stored is not None and stored.record.job == job.id


def job_of(call: PaidCall) -> Job:
    """Return the vendor's job of a paid call, as messages carry it; without an id if the answer was the result."""
    return Job(call.n, call.job, call.slot, call.label, call.vendor)


async def look(run: RunId, jobs: tuple[Job, ...], recipe: Recipe, services: Services) -> Mapping[Job, JobStatus]:
    """Look once at every paid call: ask the vendor about jobs, read immediate results from the ledger.

    A job that the vendor does not know counts as running.

    Raises:
        services.errors.VendorDown: it gave no usable answer.
        services.errors.VendorMissing: it is not configured here.
    """
    async with Together() as group:
        asked = {job: group.create_task(_status(run, job, recipe, services)) for job in jobs}
    found = {job: _believed(job, task.result()) for job, task in asked.items()}
    for job, status in found.items():
        log.info(Event.VENDOR_POLLED, job=job.id, n=job.n, state=status.state, cost=str(status.usage) or None)
    return found


async def _status(run: RunId, job: Job, recipe: Recipe, services: Services) -> JobStatus:
    if job.id:
        vendor = vendor_of(job.vendor or recipe.vendor, services.vendors, job.label)
        return await repeated(partial(vendor.query, job.id, kind=recipe.kind), services.rng)
    stored = await services.ledger.read(run, CallResult.at(job.slot, job.n))
    if stored is None:
        return JobStatus(JobState.WORKING)
    files = tuple(JobFile(url, "") for url in stored.record.files)
    return JobStatus(JobState.SUCCESS, files, usage=stored.record.usage)


def _believed(job: Job, status: JobStatus) -> JobStatus:
    """Treat an accepted job that the vendor does not know now as running: it is paid for and may be alive.

    A replica may lag, or another key be asked during a rotation. Where it stays unknown, the deadline ends the run.
    """
    if status.state is not JobState.FAILED or status.known:
        return status
    log.warning(Event.JOB_MISSING, job=job.id, n=job.n, reason=status.reason)
    return JobStatus(JobState.WORKING)


def first_success(found: Mapping[Job, JobStatus]) -> Job | None:
    """Return the first job with results."""
    return next((job for job, status in found.items() if status.state is JobState.SUCCESS), None)


class After(msgspec.Struct, frozen=True):
    """State of a slot's paid calls after failed jobs were recorded."""

    live: tuple[PaidCall, ...]
    open: tuple[PaidCall, ...]
    code: Code
    n: int
    """Number of the call whose job failed last; 0 for none."""


async def after_failure(run: RunId, slot: int, found: Mapping[Job, JobStatus], services: Services) -> After:
    """Record the end of every failed job of a slot, and return the calls that remain."""
    code, n = Code.VENDOR_FAILED, 0
    for job, status in found.items():
        if status.state is JobState.FAILED:
            code, n = status.code, job.n
            await services.ledger.write(run, CallEnd.at(job.slot, n), CallEnd("failed", code, status.usage))
            log.warning(Event.JOB_FAILED, job=job.id, n=n, code=code, reason=status.reason)
    calls = await services.ledger.calls(run, slot)
    return After(live_jobs(calls), open_calls(calls), code, n)
