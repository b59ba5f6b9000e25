"""Checks of Ark that cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from services.checks import Check
from services.errors import VendorFull
from services.vendors.port import Vendor

__all__ = ["checks"]

_REMEDY: Final = "ARK_URL, and ARK_API_KEY or ARK_API_KEYS: a key is valid in the region of its host only"


def checks(vendor: Vendor | None) -> Sequence[Check]:
    """Return the check of our key: an empty request, which the vendor refuses without a charge.

    Args:
        vendor: Ark's client; None without a key.
    """
    return () if vendor is None else (Check("ark", partial(_key, vendor), _REMEDY),)


async def _key(vendor: Vendor) -> str:
    try:
        await vendor.check_room()
    except VendorFull:
        return "it answers; no room just now"
    return "it answers, and takes the key"
