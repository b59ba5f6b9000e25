"""Every object under a prefix, page after page."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.objects.port import ObjectInfo, Objects, Page

__all__ = ["pages", "walk"]


async def pages(objects: Objects, prefix: str) -> AsyncIterator[Page]:
    """Every page of a listing, the last one included if it is empty."""
    after = ""
    while True:
        page = await objects.list(prefix, after=after)
        yield page
        if not page.next_after:
            return
        after = page.next_after


async def walk(objects: Objects, prefix: str) -> AsyncIterator[ObjectInfo]:
    """Objects whose key begins with `prefix`, in key order. A listing is a hint: the truth is a GET."""
    async for page in pages(objects, prefix):
        for item in page.items:
            yield item
