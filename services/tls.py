"""The certificates that outgoing connections trust."""

from __future__ import annotations

import asyncio
import ssl

__all__ = ["Certificates"]


class Certificates:
    """Read on first use, once, and in a thread: it takes some 50 ms of nothing but work."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """What a client verifies its servers with, whatever the environment says."""
        import httpx

        async with self._lock:
            if self._context is None:
                self._context = await asyncio.to_thread(httpx.create_ssl_context, trust_env=False)
            return self._context
