"""Listing of all objects under a prefix, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.objects.port import ObjectInfo, Objects, Page

__all__ = ["pages", "walk"]


async def pages(objects: Objects, prefix: str) -> AsyncIterator[Page]:
    """Yield every page of a listing, also an empty last one."""
    after = ""
    while True:
        page = await objects.list(prefix, after=after)
        yield page
        if not page.next_after:
            return
        after = page.next_after


async def walk(objects: Objects, prefix: str) -> AsyncIterator[ObjectInfo]:
    """Yield the objects whose key begins with `prefix`, in key order. A listing is a hint: only a GET is reliable."""
    async for page in pages(objects, prefix):
        for item in page.items:
            yield item
