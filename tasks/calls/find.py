"""Search for the job of a paid call whose answer was lost, at vendors that support it.

A job that is found is recorded; an empty result proves nothing, because a vendor's lists lag.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from messages.keys import RunId
from services.concurrency import Together
from services.repeat import repeated
from tasks.calls.jobs import vendor_of
from tasks.context import Services
from tasks.ledger.records import JobId
from tasks.ledger.snapshot import PaidCall
from telemetry import logs
from telemetry.events import Event

__all__ = ["FIND_EVERY_S", "can_find", "find_open"]

FIND_EVERY_S: Final = 15.0
"""Seconds between two questions about a call that stays open."""

log = logs.get(__name__)


def can_find(name: str, services: Services) -> bool:
    """Return True if a vendor, by its name, is here and finds calls by their identity."""
    return any(vendor.find is not None for vendor in services.vendors.all(name))


async def find_open(run: RunId, calls: tuple[PaidCall, ...], services: Services) -> tuple[PaidCall, ...]:
    """Search for the job of every call with an unknown outcome, and record the jobs that the vendor has.

    Args:
        run: the run.
        calls: its paid calls.
        services: the bundle of services.

    Returns:
        The calls as the ledger has them now.

    Raises:
        services.errors.VendorDown: it gave no usable answer; until it does, no call may count as Unknown.
        services.errors.ObjectsDown: an id could not be stored.
    """
    async with Together() as group:
        found = [group.create_task(_find(run, call, services)) for call in calls]
    return tuple(one.result() for one in found)


async def _find(run: RunId, call: PaidCall, services: Services) -> PaidCall:
    if not call.open or not can_find(call.vendor, services):
        return call
    find = vendor_of(call.vendor, services.vendors, call.label).find
    job = await repeated(partial(find, services.identities.of(run, call.slot, call.n)), services.rng) if find else ""
    if not job:
        return call
    stored = await services.ledger.write(run, JobId.at(call.slot, call.n), JobId(job))
    if stored.mine:
        log.info(Event.PAID_RECOVERED, n=call.n, job=job)
    return msgspec.structs.replace(call, job=stored.record.job)
