"""The certificates that outgoing connections trust."""

from __future__ import annotations

import asyncio
import ssl

__all__ = ["Certificates"]


class Certificates:
    """Trusted certificates, read once, on first use and in a thread: reading takes some 50 ms of CPU time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """Return the context that verifies servers, independent of the environment."""
        import httpx

        async with self._lock:
            if self._context is None:
                self._context = await asyncio.to_thread(httpx.create_ssl_context, trust_env=False)
            return self._context
