"""Listing of all objects under a prefix, page by page."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial

from services.objects.port import ObjectInfo, Objects, Page
from services.repeat import repeated

__all__ = ["pages", "walk"]


async def pages(objects: Objects, prefix: str, rng: random.Random, *, after: str = "") -> AsyncIterator[Page]:
    """Yield every page of a listing, also an empty last one. `rng` is for `services.repeat`.

    Keys up to `after` are left out.
    """
    while True:
        page = await repeated(partial(objects.list, prefix, after=after), rng)
        yield page
        if not page.next_after:
            return
        after = page.next_after


async def walk(objects: Objects, prefix: str, rng: random.Random) -> AsyncIterator[ObjectInfo]:
    """Yield the objects whose key begins with `prefix`, in key order. A listing is a hint: only a GET is reliable.

    `rng` is for `services.repeat`.
    """
    async for page in pages(objects, prefix, rng):
        for item in page.items:
            yield item
