"""Ids of jobs that messages bring, and the proof that is needed before one is written.

A webhook's hint is the id of a job that has ended, and perhaps the only news of a paid call whose answer was lost. A
poll brings the ids that the ledger could not take when their paid calls brought them. Neither is trusted: an id is
written only for a call whose outcome is open, and only after the vendor was asked with our own key whether the job was
made for this very call. Where a vendor can show nothing, a hint only wakes; an id that comes in a poll, which the
internet cannot publish, is written.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from messages.bodies import Job, Poll, Stage
from messages.codec import Message
from messages.errors import Outage
from messages.keys import RunId
from services.repeat import repeated
from tasks.calls.jobs import vendor_of
from tasks.context import Services
from tasks.ledger.records import Accepted, JobId
from tasks.ledger.snapshot import PaidCall, Snapshot
from tasks.run import known_recipe
from telemetry import logs
from telemetry.events import Event

__all__ = ["is_over", "save_ids", "take_hint"]

_NOT_SHOWN: Final = "the vendor does not show what the job was made for"
_NOT_KNOWN: Final = "the vendor does not know the job"

log = logs.get(__name__)


async def take_hint(hint: Job, snapshot: Snapshot, services: Services) -> Snapshot | None:
    """Record the id of a paid call that has none, if the vendor shows that the job was made for it.

    Args:
        hint: contents of the webhook call.
        snapshot: the run as the ledger has it.
        services: the bundle of services.

    Returns:
        The run as the ledger has it now; None when nothing should follow: the hint is not for this run, or not news.

    Raises:
        messages.errors.Outage: the vendor cannot be asked now, or not by this build; the deadline allows another try.
    """
    call = next((call for call in snapshot.calls if (call.slot, call.n) == (hint.slot, hint.n)), None)
    if call is not None and call.job == hint.id:
        return None if _is_taken_care_of(snapshot) else snapshot
    doubt = _doubt(call)
    try:
        doubt = doubt or await _unproven(hint, call, snapshot.run, snapshot.accepted, services)
    except Outage:
        # A hint is about a job that has ended: once the run has ended too, no second question is worth its cost.
        if is_over(snapshot, services):
            return snapshot
        raise
    if call is None or doubt:
        log.warning(Event.WEBHOOK_IGNORED, n=hint.n, job=hint.id, why=doubt)
        return snapshot if doubt == _NOT_SHOWN else None
    stored = await services.ledger.write(snapshot.run, JobId.at(hint.slot, hint.n), JobId(hint.id))
    if stored.mine:
        log.info(Event.PAID_RECOVERED, n=hint.n, job=hint.id)
    found = msgspec.structs.replace(call, job=stored.record.job)
    calls = tuple(found if (one.slot, one.n) == (found.slot, found.n) else one for one in snapshot.calls)
    return msgspec.structs.replace(snapshot, calls=calls)


async def save_ids(message: Message, services: Services) -> Message:
    """Store the ids that a poll carries because the ledger was down when their paid calls brought them.

    Also if the run has ended since: a job without a stored id could never be cancelled.

    Returns:
        The message with what is left of it: jobs that are none of this run's are out, and `unsaved` stays as long as
        one waits for the vendor to know it.

    Raises:
        messages.errors.Outage: ledger or vendor is down.
    """
    body, run = message.body, message.header.run_id
    if not (isinstance(body, Poll) and body.unsaved):
        return message
    jobs, waits = [], False
    for job in body.jobs:
        doubt = await _save_id(run, job, services)
        waits = waits or doubt == _NOT_KNOWN
        if doubt and doubt != _NOT_KNOWN:
            log.warning(Event.MESSAGE_UNPROVEN, n=job.n, job=job.id, why=doubt)
        else:
            jobs.append(job)
    return Message(message.header, msgspec.structs.replace(body, jobs=tuple(jobs), unsaved=waits))


async def _save_id(run: RunId, job: Job, services: Services) -> str:
    """Store an id of a poll; return why it was not stored, empty if it is."""
    call = await services.ledger.call(run, job.slot, job.n)
    if call is not None and call.job == job.id:
        return ""
    doubt = _doubt(call) or await _unproven(job, call, run, await services.ledger.accepted(run), services)
    if doubt and doubt != _NOT_SHOWN:
        return doubt
    stored = await services.ledger.write(run, JobId.at(job.slot, job.n), JobId(job.id))
    return "" if stored.record.job == job.id else "the paid call has another id"


def _is_taken_care_of(snapshot: Snapshot) -> bool:
    """Return True if a `collect` of the job has begun: a second one would repeat all its work."""
    return snapshot.verdict is not None or snapshot.next_seq(Stage.COLLECT) > 0


def _doubt(call: PaidCall | None) -> str:
    """Return why a hint cannot be for this paid call; empty if it can."""
    if call is None:
        return "there is no such paid call"
    if call.job:
        return "the paid call has another id"
    if call.answered:
        return "the paid call was answered at once"
    return "the paid call was not accepted" if call.end else ""


async def _unproven(job: Job, call: PaidCall | None, run: RunId, accepted: Accepted | None, services: Services) -> str:
    """Return why the vendor does not confirm that a job was made for a paid call; empty if it does."""
    if accepted is None:
        return "the run was not accepted"
    recipe = known_recipe(accepted.kind, services.recipes, accepted.vendor)
    name, label = (call.vendor, call.label) if call else (recipe.vendor, "")
    vendor = vendor_of(name, services.vendors, label)
    if not (await repeated(partial(vendor.query, job.id, kind=recipe.kind), services.rng)).known:
        return _NOT_KNOWN
    url = await repeated(partial(vendor.made_for, job.id), services.rng)
    if not url:
        return _NOT_SHOWN
    made = services.webhooks.is_for(url, vendor.name, run, job.slot, job.n)
    return "" if made else "the job was made for another call"


def is_over(snapshot: Snapshot, services: Services) -> bool:
    """Return True if a run has ended, is out of time, or was never accepted: no vendor needs to be asked about it."""
    accepted = snapshot.accepted
    return snapshot.verdict is not None or accepted is None or services.ledger.now() >= accepted.deadline
