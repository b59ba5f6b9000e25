"""The good end of a slot: a paid call has brought as many results as were sold."""

from __future__ import annotations

from consumers.engine.fan_in import after_slot
from consumers.engine.outcomes import Outcome, dead_lettered
from messages.bodies import Job, Reason
from messages.codes import Code
from messages.keys import RunId
from recipes.recipe import Recipe
from services.vendors.port import JobStatus
from tasks.context import Services
from tasks.errors import IncompleteResults, NotAccepted
from tasks.ledger.records import CallEnd, SlotEnd
from tasks.run import known_recipe
from tasks.slots import end_slot
from telemetry import logs
from telemetry.events import Event

__all__ = ["incomplete", "is_complete", "succeeded"]

log = logs.get(__name__)


def is_complete(status: JobStatus, recipe: Recipe) -> bool:
    """Return True if a successful call has as many results as a slot was sold."""
    return len(status.files) == recipe.count


async def succeeded(run: RunId, job: Job, status: JobStatus, services: Services, *, seq: int = 0) -> Outcome:
    """End the slot of a successful call: well, or badly if its results are not as many as were sold.

    Args:
        run: the run.
        job: the call.
        status: its files and usage.
        services: the bundle of services.
        seq: of the message that collects, if the run is decided.

    Raises:
        tasks.errors.NotAccepted: the run was never accepted.
        services.errors.ObjectsDown: the ledger did not answer.
    """
    accepted = await services.ledger.accepted(run)
    if accepted is None:
        raise NotAccepted(f"{run.stem} was never accepted")
    recipe = known_recipe(accepted.kind, services.recipes, accepted.vendor)
    if not is_complete(status, recipe):
        return await incomplete(run, job, status, recipe, services)
    end = SlotEnd(good=True, n=job.n, usage=status.usage)
    decision = await end_slot(run, job.slot, end, accepted, services.ledger)
    return after_slot(decision, services.ledger.now(), seq)


async def incomplete(run: RunId, job: Job, status: JobStatus, recipe: Recipe, services: Services) -> Outcome:
    """Record that a successful call will not have as many results as were sold, and give it up."""
    found = f"paid call {job.n} of slot {job.slot} has {len(status.files)} files of {recipe.count}"
    log.warning(Event.JOB_FAILED, job=job.id, n=job.n, files=len(status.files), wanted=recipe.count)
    end = CallEnd("failed", Code.INCOMPLETE_RESULTS, status.usage)
    await services.ledger.write(run, CallEnd.at(job.slot, job.n), end)
    return dead_lettered(Reason.VENDOR, IncompleteResults(found), job.n, job.slot)
