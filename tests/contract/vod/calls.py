"""Requests and an open client for these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.vendors.port import Created, JobRequest
from services.vendors.vod.client import Vod

IDENTITY = "0123456789abcdef0123456789abcdef0123456789abcdef01"
LIMIT_S = 60.0


@asynccontextmanager
async def opened(client: Vod) -> AsyncIterator[Vod]:
    try:
        yield client
    finally:
        await client.close()


def order(store: str = "", *names: str, identity: str = IDENTITY, **values: str) -> JobRequest:
    """A request with pictures of the store; without any, for a picture from a prompt alone."""
    inputs = {f"picture{number}": f"{store}/{name}.jpg?sign=5161e0c3" for number, name in enumerate(names, 1)}
    plain = {} if names else {"model": "GG-3.1", "prompt": "海边的模特"}
    return JobRequest("fitting", inputs, {**plain, **values}, identity=identity)


async def create(client: Vod, request: JobRequest | None = None) -> Created:
    return await client.create(request or order(), timeout=LIMIT_S)


async def failed(client: Vod, error: type[Exception], request: JobRequest | None = None) -> Any:
    """The error of a create."""
    try:
        found = await create(client, request)
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}, but {found}")
