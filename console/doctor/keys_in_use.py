"""The check of vendors with several keys: which of them the paid calls under way were made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

from producer.sweep_rules import oddity_of
from services.checks import Check
from services.errors import CheckFailed
from services.unfinished import UnfinishedTask
from services.vendors.port import VendorKey
from tasks.context import Services

__all__ = ["keys_in_use_checks"]

_ROWS: Final = 200
"""Unfinished tasks that are looked at, the oldest first."""


def keys_in_use_checks(services: Services) -> Sequence[Check]:
    """Return the check that the key of every call under way is here; none where no vendor has several keys.

    Args:
        services: the checked services.
    """
    vendors = services.vendors
    if all(len(vendors.all(name)) < 2 for name in vendors.names):  # noqa: PLR2004 - several
        return ()
    remedy = "put the key back under its label, as draining, until its jobs have ended (docs/configuration.md)"
    return (Check("vendor keys", partial(_keys, services), remedy, needs="backend"),)


async def _keys(services: Services) -> str:
    rows = (await services.backend.unfinished(0)).rows
    found: Counter[VendorKey] = Counter()
    for row in rows[:_ROWS]:
        found.update(await _calls_of(row, services))
    missing = sorted(key for key in found if services.vendors.of(key.vendor, key.label) is None)
    if missing:
        raise CheckFailed(f"calls are under way with keys that are not here: {', '.join(map(str, missing))}")
    used = ", ".join(f"{key} {found[key]}" for key in sorted(found)) or "none"
    more = f" of the {_ROWS} oldest unfinished tasks" if len(rows) > _ROWS else ""
    return f"calls under way{more} by key: {used}"


async def _calls_of(row: UnfinishedTask, services: Services) -> list[VendorKey]:
    """Return the keys of a task's calls whose job is known and not ended, or whose outcome is open."""
    if oddity_of(row, services.clock()):
        return []
    run = await services.ledger.latest_run(row.user, row.task, row.step)
    accepted = await services.ledger.accepted(run) if run else None
    if run is None or accepted is None or await services.ledger.verdict(run) is not None:
        return []
    slots = [await services.ledger.calls(run, slot) for slot in range(1, accepted.slots + 1)]
    return [VendorKey(call.vendor, call.label) for calls in slots for call in calls if call.live or call.open]
