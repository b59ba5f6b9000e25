"""A webhook's hint: the id of a job that has ended, and perhaps the only news of a paid call whose answer was lost.

The path that brought it proves who may send hints for a paid call, not that the id is true: so before anything is
written the vendor is asked with our own key, and must itself show that the job was made for this very call. A hint that
is not borne out changes nothing; where a vendor can show nothing, a hint only wakes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from messages.bodies import Job, Stage
from messages.errors import Outage
from tasks.calls.jobs import vendor_of
from tasks.context import Services
from tasks.ledger.records import JobId
from tasks.ledger.snapshot import PaidCall, Snapshot
from tasks.run import known_recipe
from telemetry import logs
from telemetry.events import Event

__all__ = ["take_hint"]

_ONLY_WAKES: Final = "the vendor does not show what the job was made for"

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
        doubt = doubt or await _unproven(hint, call.label if call else "", snapshot, services)
    except Outage:
        # A hint is about a job that has ended: once the run has ended too, no second question is worth its cost.
        if _is_over(snapshot, services):
            return snapshot
        raise
    if call is None or doubt:
        log.warning(Event.WEBHOOK_IGNORED, n=hint.n, job=hint.id, why=doubt)
        return snapshot if doubt == _ONLY_WAKES else None
    stored = await services.ledger.write(snapshot.run, JobId.at(hint.slot, hint.n), JobId(hint.id))
    if stored.mine:
        log.info(Event.PAID_RECOVERED, n=hint.n, job=hint.id)
    found = msgspec.structs.replace(call, job=stored.record.job)
    calls = tuple(found if (one.slot, one.n) == (found.slot, found.n) else one for one in snapshot.calls)
    return msgspec.structs.replace(snapshot, calls=calls)


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


async def _unproven(hint: Job, label: str, snapshot: Snapshot, services: Services) -> str:
    """Return why the vendor does not confirm a hint; empty if it does."""
    if snapshot.accepted is None:
        return "the run was not accepted"
    recipe = known_recipe(snapshot.accepted.kind, services.recipes)
    vendor = vendor_of(recipe.vendor, services.vendors, label)
    if not (await vendor.query(hint.id, kind=recipe.kind)).known:
        return "the vendor does not know the job"
    url = await vendor.made_for(hint.id)
    if not url:
        return _ONLY_WAKES
    made = services.webhooks.is_for(url, vendor.name, snapshot.run, hint.slot, hint.n)
    return "" if made else "the job was made for another call"


def _is_over(snapshot: Snapshot, services: Services) -> bool:
    accepted = snapshot.accepted
    return snapshot.verdict is not None or accepted is None or services.ledger.now() >= accepted.deadline
