"""The side that faces the cloud function platform: one event loop a process, and what is opened is kept while warm.

Nothing runs on after a handler's return, because the platform freezes the instance: the loop stands still between
calls.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

from runtime.outside import Outside
from runtime.settings import Settings, load_settings
from runtime.wiring import open_outside
from telemetry import logs

__all__ = ["Event", "Instance", "current_loop", "instance"]

T = TypeVar("T")

Event = Mapping[str, Any]


class Instance:
    """One instance of a function: opened at its first call, kept while it is warm.

    Args:
        service: name of the function in its logs.
        vendors: whether it needs paid vendors.
    """

    def __init__(self, service: str, *, vendors: bool = False) -> None:
        self._service = service
        self._vendors = vendors
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()
        self._outside: Outside | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, once there was a call."""
        return self._loop

    def call(self, work: Callable[[Outside], Awaitable[T]]) -> T:
        """Do one call's work to its end."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(self._call(work))

    def close(self) -> None:
        """Close everything; the next call opens it anew."""
        if self._loop is not None:
            self._loop.run_until_complete(self._stack.aclose())
            self._loop.close()
        self._loop, self._outside = None, None

    async def _call(self, work: Callable[[Outside], Awaitable[T]]) -> T:
        if self._outside is None:
            settings = load_settings(os.environ)
            logs.setup(sys.stdout, settings.log_level, self._service)
            self._outside = await self._open(settings)
        return await work(self._outside)

    async def _open(self, settings: Settings) -> Outside:
        return await self._stack.enter_async_context(open_outside(settings, lambda: os.environ, vendors=self._vendors))


class _Process:
    """A process serves one function: the one instance that the platform keeps warm."""

    instance: Instance | None = None


_process: Final = _Process()


def instance(service: str, *, vendors: bool = False) -> Instance:
    """This process's instance of its function, made at the first call."""
    if _process.instance is None:
        _process.instance = Instance(service, vendors=vendors)
    return _process.instance


def current_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of this process's instance, if it has been called."""
    return _process.instance.loop if _process.instance else None
