"""Checks of VOD that cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from services.checks import Check
from services.errors import VendorFull
from services.vendors.port import Vendor

__all__ = ["checks"]

_REMEDY: Final = (
    "VOD_URL, VOD_SUB_APP_ID, the clock, TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY or the role, and its right"
    " to call vod:DescribeTasks and the creates"
)


def checks(vendor: Vendor | None) -> Sequence[Check]:
    """Return the check of credentials and application: a list of one job.

    Args:
        vendor: VOD's client; None where it is not used.
    """
    return () if vendor is None else (Check("vod", partial(_key, vendor), _REMEDY),)


async def _key(vendor: Vendor) -> str:
    try:
        await vendor.check_room()
    except VendorFull:
        return "it answers; no room just now"
    return "it answers, and takes our credentials"
