"""Requests, pictures and an open client for these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.fetch import Fetcher
from services.vendors.ark.client import Ark
from services.vendors.port import JobRequest, Results


@asynccontextmanager
async def opened(client: Ark) -> AsyncIterator[Ark]:
    try:
        yield client
    finally:
        await client.close()


def order(store: str = "", *names: str, **values: str) -> JobRequest:
    """A request with reference pictures of the store."""
    inputs = {f"photo{number}": f"{store}/{name}.jpg?sign=5161e0c3" for number, name in enumerate(names, 1)}
    return JobRequest("photography", inputs, {"prompt": "海边的模特", "size": "1024x1024", **values})


async def create(client: Ark, request: JobRequest | None = None) -> Results:
    return await client.create(request or order(), timeout=20.0)


async def refused(client: Ark, error: type[Exception], request: JobRequest | None = None) -> Any:
    """The error of a create."""
    try:
        found = await create(client, request)
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}, but {found}")


def fetcher(port: int) -> Fetcher:
    return Fetcher(
        allowed_hosts=frozenset(), allow_private=frozenset({f"127.0.0.1:{port}"}), max_bytes=16 << 20, timeout=20.0
    )


async def download(fetching: Fetcher, url: str) -> tuple[str, bytes]:
    async with fetching.open(url) as fetched:
        return fetched.content_type, b"".join([piece async for piece in fetched])
