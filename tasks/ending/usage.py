"""Usage of a run, as its vendors counted it until the verdict."""

from __future__ import annotations

import msgspec

from messages.keys import RunId
from services.vendors.usage import Usage, total
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Accepted, Prompted, SlotEnd

__all__ = ["cost_of", "read_usage"]


def cost_of(usage: Usage) -> str:
    """Return the part of a statistics key: `{number}_{unit}` of each unit that counts anything, joined by `_`."""
    counted = msgspec.structs.asdict(usage).items()
    return "_".join(f"{value:g}_{name.replace('_', '-')}" for name, value in counted if value)


async def read_usage(run: RunId, accepted: Accepted, until: float, *, prompted: bool, ledger: Ledger) -> Usage:
    """Return the usage of a run's paid calls and of its prompt.

    Args:
        run: the run.
        accepted: its record.
        until: time of its verdict by the store's clock: a slot that ends later does not count, so that the answer is
            the same whenever it is asked for.
        prompted: True if its kind has a prompt.
        ledger: where the records are.

    Raises:
        messages.errors.Permanent: a record cannot be read.
        services.errors.ObjectsDown: the ledger did not answer.
    """
    slots = range(1, accepted.slots + 1) if accepted.vendor else range(0)
    ends = [await ledger.read(run, SlotEnd.at(slot)) for slot in slots]
    text = await ledger.read(run, Prompted.at()) if prompted else None
    usages = [end.record.usage for end in ends if end is not None and end.at <= until]
    return total([*usages, *([text.record.usage] if text is not None and text.at <= until else [])])
