"""Checks of RunningHub that cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from services.checks import Check
from services.errors import CheckFailed, VendorFull
from services.vendors.port import Vendor

__all__ = ["checks"]

_KEYLESS: Final = "set RUNNINGHUB_API_KEY, or unset RUNNINGHUB_WORKFLOWS"


def checks(vendor: Vendor | None) -> Sequence[Check]:
    """Return the check of our key.

    Args:
        vendor: RunningHub's client; None if its workflows are configured, but no key.
    """
    if vendor is None:
        return (Check("runninghub", _keyless, _KEYLESS),)
    remedy = "RUNNINGHUB_URL, and RUNNINGHUB_API_KEY or RUNNINGHUB_API_KEYS: keys of .cn and .ai are separate"
    return (Check("runninghub", partial(_room, vendor), remedy),)


async def _keyless() -> str:
    raise CheckFailed(
        "RUNNINGHUB_WORKFLOWS is set, but RUNNINGHUB_API_KEY is not: nothing can be generated", remedy=_KEYLESS
    )


async def _room(vendor: Vendor) -> str:
    try:
        await vendor.check_room()
    except VendorFull:
        return "it answers; no free slot just now"
    return "it answers, and has a free slot"
