"""Every object under a prefix, page after page."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.objects.port import ObjectInfo, Objects

__all__ = ["walk"]


async def walk(objects: Objects, prefix: str) -> AsyncIterator[ObjectInfo]:
    """Objects whose key begins with `prefix`, in key order. A listing is a hint: the truth is a GET."""
    after = ""
    while True:
        page = await objects.list(prefix, after=after)
        for item in page.items:
            yield item
        if not page.next_after:
            return
        after = page.next_after
