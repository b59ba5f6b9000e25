"""Download of inputs given as URLs, as a workflow's loader node does."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["read_url", "receive_url"]

_LIMIT: Final = 512 << 20
_SECONDS: Final = 30.0
_PIECE: Final = 1 << 20


async def read_url(url: str) -> bytes:
    """Download a URL; returns an empty body after an error, or if it is far too large."""
    body = bytearray()

    async def keep(piece: bytes) -> None:
        body.extend(piece)

    return bytes(body) if await receive_url(url, keep) else b""


async def receive_url(url: str, write: Callable[[bytes], Awaitable[object]]) -> str:
    """Download a URL piece by piece; returns the digest of the content.

    Empty after an error, or if it is far too large: then the written file is worthless.

    Args:
        url: the URL.
        write: takes the next piece.
    """
    import httpx

    digest, size = hashlib.sha256(), 0
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client, client.stream("GET", url) as answer:
            if not answer.is_success:
                return ""
            async for piece in answer.aiter_bytes(_PIECE):
                size += len(piece)
                if size > _LIMIT:
                    return ""
                digest.update(piece)
                await write(piece)
    except (httpx.HTTPError, httpx.InvalidURL):
        return ""
    return digest.hexdigest()
