"""Poll: look at the run's jobs, and come again as a delayed message, so that waiting costs no function time."""

from __future__ import annotations

from consumers.engine.outcomes import Finish, Next, Outcome, Snooze, dead_lettered
from consumers.stages.schedule import next_poll
from messages.bodies import Collect, Job, Poll, Reason, Stage
from messages.codec import Header
from services.errors import VendorDown
from services.vendors.port import JobState
from tasks.calls.jobs import after_failure, first_success, job_of, look
from tasks.context import Services
from tasks.errors import VendorFailed
from tasks.ledger.snapshot import live_jobs
from tasks.run import Task, known_recipe
from telemetry.points import reached

__all__ = ["poll"]


async def poll(header: Header, body: Poll, task: Task | None, services: Services) -> Outcome:
    """Look once. A marked turn (task given) first asks the ledger which jobs there are."""
    jobs = await _known(body, task, services)
    recipe = known_recipe(header.kind, services.recipes)
    elapsed = services.ledger.now() - body.since / 1000
    delay = next_poll(elapsed, services.policy.expected_s or recipe.expected_s)
    again = Snooze(delay, body=Poll(jobs, body.since, slot=body.slot))
    try:
        found = await look(header.run_id, jobs, recipe, services)
    except VendorDown as down:
        # A key that flickers or a vendor that is away fails no run: the job goes on at the vendor's.
        return Snooze(max(delay, down.retry_after or 0.0), body=again.body, why=type(down).__name__)
    reached("poll.looked")
    if winner := first_success(found):
        return Next(Stage.COLLECT, Collect(winner))
    if all(status.state is JobState.WORKING for status in found.values()):
        return again
    left = await after_failure(header.run_id, found, services)
    if left.live or left.open:
        return Snooze(delay, body=Poll(tuple(job_of(call) for call in left.live), body.since, slot=body.slot))
    if await services.ledger.verdict(header.run_id):
        return Finish()
    return dead_lettered(Reason.VENDOR, VendorFailed(f"paid call {left.n}", code=left.code), left.n)


async def _known(body: Poll, task: Task | None, services: Services) -> tuple[Job, ...]:
    if task is None:
        return body.jobs
    calls = live_jobs(await services.ledger.calls(task.run, body.slot))
    return tuple(job_of(call) for call in calls) or body.jobs
