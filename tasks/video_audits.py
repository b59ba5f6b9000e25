"""Audits of videos: submitted as jobs and looked at until they have a finding, which takes seconds to minutes.

The jobs are recorded, so that every later message looks at the same ones. A job that fails is replaced by a new one,
the first at once and each further one after twice as long: an audit without a finding is an outage, never a pass, and
each job costs money. Only a video that cannot be played to its end gets no new one: the audit fails on it each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from messages.bodies import Stage
from messages.keys import RunId
from services.errors import AuditDown, BadVideo, NotFound
from services.objects.port import Result
from services.repeat import repeated
from tasks.context import Services
from tasks.ledger.ledger import Stored
from tasks.ledger.records import AuditJobs, Product
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.tracing import note, span

__all__ = ["fault_of", "find_videos", "jobs_of", "replaced_at"]

_LATE: Final = 0.95
"""Share of a video's length at which it is looked into: a file that broke off has a head, and no frame there."""

_REPLACED_AFTER_S: Final = 30.0
"""Seconds after which the second job that failed is replaced; doubles with each further one."""

log = logs.get(__name__)


def replaced_at(submitted: float, n: int) -> float:
    """Return when a job that failed may be replaced. Pure; their number grows with the logarithm of the time.

    Args:
        submitted: when it was recorded, seconds since the epoch.
        n: jobs so far, from 1.
    """
    return submitted + (_REPLACED_AFTER_S * 2.0 ** (n - 2) if n > 1 else 0.0)


async def jobs_of(run: RunId, stage: Stage, services: Services) -> tuple[Stored[AuditJobs] | None, int]:
    """Return the audits that are at work for a stage of a run, if there are any, and the number of the next record."""
    found, n = None, 0
    while (stored := await services.ledger.read(run, AuditJobs.at(stage, n))) is not None:
        found, n = stored, n + 1
    return found, n


async def find_videos(
    run: RunId, stage: Stage, keys: Sequence[str], services: Services, products: tuple[Product, ...] = ()
) -> Mapping[str, Result | BadVideo] | None:
    """Look once at the audits of videos; the first time, submit them.

    Args:
        run: the run.
        stage: the stage that needs the findings.
        keys: the videos.
        services: the bundle of services.
        products: of the clean stage: recorded with the jobs.

    Returns:
        Key -> its finding, or why it cannot be played; None while the audit is at work.

    Raises:
        services.errors.AuditDown: a video could not be submitted, or its job failed and is not replaced yet.
    """
    with span(SpanName.AUDIT, videos=len(keys)):
        jobs, n = await jobs_of(run, stage, services)
        known = jobs.record.jobs if jobs else {}
        findings: dict[str, Result | BadVideo | None] = {}
        for key in (key for key in keys if key in known):
            try:
                findings[key] = await _look(known[key], services)
            except AuditDown as down:
                if jobs and services.ledger.now() < replaced_at(jobs.at, n):
                    raise
                log.warning(Event.AUDIT_LATE, error=down)
                if fault := await fault_of(key, services):
                    findings[key] = fault
        if len(findings) < len(keys):
            new = {key: await _submit(key, services) for key in keys if key not in findings}
            record = AuditJobs({key: known[key] for key in findings} | new, products)
            await services.ledger.write(run, AuditJobs.at(stage, n), record)
        ended = {key: found for key, found in findings.items() if found is not None}
        note(ended=len(ended))
        return ended if len(ended) == len(keys) else None


async def _look(job: str, services: Services) -> Result | None:
    return await repeated(lambda: services.objects.video_audit(job), services.rng)


async def fault_of(key: str, services: Services) -> BadVideo | None:
    """Return why a video on which a job failed cannot be played; None for one that can."""
    objects, target = services.objects, f"{key.rpartition('.')[0]}_check.jpg"
    try:
        info = await repeated(lambda: objects.video_info(key), services.rng)
        await repeated(lambda: objects.snapshot(key, target, at_s=_LATE * info.seconds), services.rng)
    except BadVideo as error:
        return error
    except NotFound:
        return BadVideo(f"{key} is gone")
    return None


async def _submit(key: str, services: Services) -> str:
    # A repeat costs one more audit, and no call of a vendor.
    return await repeated(lambda: services.objects.submit_video_audit(key), services.rng)
