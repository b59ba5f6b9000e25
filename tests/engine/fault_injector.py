"""The fault injector: which fault, where, and how often. Every external effect passes here twice."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

Act = Callable[[], Awaitable[None]]
"""Awaited at a place: it raises, waits or does something else."""


class Died(BaseException):
    """The process dies at this place: no handler of ours may run."""


class Hook(Protocol):
    """Awaited before (`done` is False) and after (True) each effect, with its place."""

    def __call__(self, place: str, *, done: bool) -> Awaitable[None]: ...


class FaultInjector:
    """Ordered faults, and a hook that sees everything.

    A place reads `{who}.{verb} {what}`, such as `ledger.put_new ledger/u/t/0-0/verdict` or `vendor.create`.
    """

    def __init__(self) -> None:
        self._orders: list[tuple[re.Pattern[str], bool, deque[Act]]] = []
        self.hook: Hook | None = None
        self.seen: list[str] = []
        """Every place at which an effect was about to happen."""

    def strike(self, place: str, *acts: Act, done: bool = False) -> None:
        """The next effects at places that match do this, one act each: before the effect, or when it is done."""
        self._orders.append((re.compile(place), done, deque(acts)))

    def clear(self) -> None:
        """Clear all faults."""
        self._orders.clear()

    @property
    def left(self) -> int:
        """Acts that have not been used yet."""
        return sum(len(acts) for _, _, acts in self._orders)

    async def pass_by(self, place: str, *, done: bool) -> None:
        """Let an effect go on, or not."""
        if not done:
            self.seen.append(place)
        for pattern, when, acts in self._orders:
            if acts and when is done and pattern.search(place):
                await acts.popleft()()
                break
        if self.hook is not None:
            await self.hook(place, done=done)

    def of(self, who: str) -> Callable[..., Awaitable[None]]:
        """The same for an object store, by operation and key."""

        async def passed(operation: str, key: str, *, done: bool) -> None:
            await self.pass_by(f"{who}.{operation} {key}", done=done)

        return passed

    def count(self, place: str) -> int:
        """How often an effect was about to happen at places that match."""
        return sum(re.search(place, seen) is not None for seen in self.seen)


def raises(error: Exception) -> Act:
    """Break here."""

    async def act() -> None:
        await asyncio.sleep(0)
        # A fresh copy, without an earlier traceback.
        raise error.with_traceback(None)

    return act


def waits(seconds: float) -> Act:
    """Hang, or be frozen, for so long."""

    async def act() -> None:
        await asyncio.sleep(seconds)

    return act


def dies() -> Act:
    """The process ends here."""

    async def act() -> None:
        await asyncio.sleep(0)
        raise Died

    return act


def calls(function: Callable[[], Awaitable[object]]) -> Act:
    """Run another actor's work at this moment."""

    async def act() -> None:
        await function()

    return act


def passes() -> Act:
    """Let one effect pass, so that the fault hits the next."""

    async def act() -> None:
        await asyncio.sleep(0)

    return act
