"""Poll: look at the run's jobs, then continue as a delayed message, so that waiting costs no function time."""

from __future__ import annotations

from typing import Final

import msgspec

from consumers.engine.outcomes import Finish, Leave, Outcome, Snooze, dead_lettered
from consumers.stages.schedule import LONGEST, next_poll
from consumers.stages.success import is_complete, succeeded
from messages.bodies import Poll, Reason
from messages.codec import Header
from services.errors import VendorDown
from services.vendors.port import JobState
from tasks.calls.decide import Ended, Lost, Wait, decide
from tasks.calls.jobs import after_failure, first_success, is_own, job_of, look
from tasks.context import Services
from tasks.errors import CallUnknown, VendorFailed
from tasks.ledger.snapshot import PaidCall, live_jobs
from tasks.run import Task, known_recipe
from telemetry import logs
from telemetry.events import Event
from telemetry.points import reached

__all__ = ["INCOMPLETE_S", "poll"]

INCOMPLETE_S: Final = 60.0
"""Seconds for which a successful job may show fewer results than were sold: vendors are eventually consistent."""

_SHORT_S: Final = 5.0
"""Least seconds until a job that shows too few results is looked at again."""

log = logs.get(__name__)


async def poll(header: Header, body: Poll, task: Task | None, services: Services) -> Outcome:
    """Ask the vendor once for the jobs' state. A marked poll (task given) first reads the jobs from the ledger."""
    since = body.since / 1000
    if task is not None:
        calls = await services.ledger.calls(task.run, body.slot)
        live = live_jobs(calls)
        if not live:
            return _without_job(calls, body, services)
        body = msgspec.structs.replace(body, jobs=tuple(job_of(call) for call in live))
        since = min(call.at for call in live)
    if not body.jobs:
        log.warning(Event.MESSAGE_UNPROVEN, why="it names no job of this run")
        return Leave()
    return await _look(header, body, since, services)


def _without_job(calls: tuple[PaidCall, ...], body: Poll, services: Services) -> Outcome:
    """Return the outcome of a look where the ledger has no live job."""
    match decide(calls, services.ledger.now()):
        case Wait(delay):
            return Snooze(min(delay, LONGEST), body=body)
        case Lost(n):
            return dead_lettered(Reason.UNKNOWN, CallUnknown(f"paid call {n} of slot {body.slot}"), n)
        case Ended(n, code):
            return dead_lettered(Reason.VENDOR, VendorFailed(f"paid call {n} of slot {body.slot}", code=code), n)
        case _:
            log.warning(Event.MESSAGE_UNPROVEN, why="no paid call of this run has a job")
            return Leave()


def _short(body: Poll, since: float, now: float) -> Snooze | None:
    """Return the next look at a job that shows too few results; None if it has had its time.

    Args:
        body: of the message.
        since: when the call was made, seconds since the epoch: no message has seen too few before.
        now: seconds since the epoch, by the store's clock.
    """
    first = max(body.short_since / 1000 or now, since)
    left = first + INCOMPLETE_S - now
    again = msgspec.structs.replace(body, since=int(since * 1000), short_since=int(first * 1000))
    return Snooze(min(max(_SHORT_S, (now - first) / 2), max(left, 1.0)), body=again) if left > 0 else None


async def _look(header: Header, body: Poll, since: float, services: Services) -> Outcome:
    run, jobs = header.run_id, body.jobs
    recipe = known_recipe(header.kind, services.recipes)
    elapsed = max(0.0, services.ledger.now() - since)
    delay = next_poll(elapsed, services.policy.expected_s or recipe.expected_s)
    again = Snooze(delay, body=msgspec.structs.replace(body, since=int(since * 1000)))
    try:
        found = await look(run, jobs, recipe, services)
    except VendorDown as down:
        # A key that fails for a while or a vendor that is down fails no run: the job goes on at the vendor.
        return Snooze(max(delay, down.retry_after or 0.0), body=again.body, why=type(down).__name__)
    reached("poll.looked")
    if all(status.state is JobState.WORKING for status in found.values()):
        return again
    # The look has an effect, so the owners of these jobs are checked now.
    own = {job: status for job, status in found.items() if await is_own(run, job, services)}
    if len(own) < len(found):
        log.warning(Event.MESSAGE_UNPROVEN, why="it names a job that is none of this run's")
        return Leave()
    if winner := first_success(own):
        status = own[winner]
        if winner.id and not is_complete(status, recipe) and (wait := _short(body, since, services.ledger.now())):
            log.warning(Event.JOB_FAILED, job=winner.id, n=winner.n, files=len(status.files), wanted=recipe.count)
            return wait
        return await succeeded(run, winner, status, services)
    left = await after_failure(run, body.slot, own, services)
    if left.live or left.open:
        return Snooze(delay, body=Poll(tuple(job_of(call) for call in left.live), int(since * 1000), slot=body.slot))
    if await services.ledger.verdict(run):
        return Finish()
    return dead_lettered(Reason.VENDOR, VendorFailed(f"paid call {left.n}", code=left.code), left.n)
