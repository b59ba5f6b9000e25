"""Download of inputs given as URLs, as a workflow's loader node does."""

from __future__ import annotations

from typing import Final

__all__ = ["read_url"]

_LIMIT: Final = 512 << 20
_SECONDS: Final = 30.0


async def read_url(url: str) -> bytes:
    """Download a URL; returns an empty body after an error, or if it is far too large."""
    import httpx

    body = bytearray()
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client, client.stream("GET", url) as answer:
            if not answer.is_success:
                return b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _LIMIT:
                    return b""
    except (httpx.HTTPError, httpx.InvalidURL):
        return b""
    return bytes(body)
