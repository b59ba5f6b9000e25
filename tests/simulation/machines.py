"""Machines on virtual time: each with a clock of its own; it can freeze, die, and be replaced by another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from tests.engine.virtual import wall
from tests.simulation.events import CURRENT, Doing, Timeline

_SILENT = ("get", "head", "list", "open", "read")


class Gone(BaseException):
    """The history is over: raised in coroutines that still hang."""


class Watcher(Protocol):
    """Sees every effect."""

    def meddle(self, machine: Machine, place: str, *, done: bool) -> Awaitable[None]:
        """Inject a fault before (`done` is False) or after an effect: raise, wait, or kill."""
        ...

    def see(self, machine: Machine, place: str, *, done: bool) -> None:
        """Look at an effect that is about to happen, or that has happened."""
        ...


class Graveyard:
    """Holds the coroutines of dead machines until the history is over."""

    def __init__(self) -> None:
        self._hanging: list[asyncio.Future[None]] = []
        self._over = False

    async def hang(self) -> None:
        """Never return."""
        if self._over:
            raise Gone
        hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hanging.append(hanging)
        await hanging
        raise Gone

    def end(self) -> None:
        """Unwind all coroutines that hang now or later."""
        self._over = True
        for hanging in self._hanging:
            if not hanging.done():
                hanging.set_exception(Gone())

    @property
    def over(self) -> bool:
        """True once the history is over."""
        return self._over


class Machine:
    """One process. Every effect that it has outside passes here twice.

    Args:
        name: for the timeline.
        skew: seconds by which its wall clock is ahead.
        timeline: of the history.
        graveyard: of the history.
        watcher: does harm, and looks on.
    """

    def __init__(self, name: str, skew: float, timeline: Timeline, graveyard: Graveyard, watcher: Watcher) -> None:
        self.name = name
        self.skew = skew
        self.timeline = timeline
        self.at_work: dict[Doing, None] = {}
        """Messages that it works on; a dict for its order."""
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._graveyard = graveyard
        self._watcher = watcher
        self._frozen_until = 0.0

    def now(self) -> float:
        """Wall time by its own clock, seconds since the epoch."""
        return wall() + self.skew

    @property
    def alive(self) -> bool:
        """True if it runs, also while it is frozen."""
        return not self.died.done()

    @property
    def frozen(self) -> bool:
        """True while it is frozen."""
        return self._frozen_until > asyncio.get_running_loop().time()

    def freeze(self, seconds: float) -> None:
        """Freeze it for a while, without its notice."""
        self._frozen_until = max(self._frozen_until, asyncio.get_running_loop().time() + seconds)

    def thaw(self) -> None:
        """Let it go on now."""
        self._frozen_until = min(self._frozen_until, asyncio.get_running_loop().time())

    @property
    def awake_since(self) -> float:
        """When it was last frozen, by the loop's clock."""
        return self._frozen_until

    def end(self) -> None:
        """End it: none of its work goes on."""
        if self.alive:
            self.died.set_result(None)

    async def stand(self) -> None:
        """Return if it runs; wait while it is frozen, and for ever once it is dead."""
        if self._graveyard.over:
            raise Gone
        while self.frozen:  # noqa: ASYNC110 - virtual seconds
            await asyncio.sleep(1.0)
        if not self.alive:
            await self._graveyard.hang()

    async def pass_by(self, place: str, *, done: bool) -> None:
        """Let an effect happen, or not; a place reads `{service}.{verb} {what}`."""
        if self.frozen or not self.alive or self._graveyard.over:
            await self.stand()
        await self._watcher.meddle(self, place, done=done)
        if self.frozen or not self.alive:
            await self.stand()
        self._watcher.see(self, place, done=done)
        if done and place.partition(" ")[0].rpartition(".")[2] not in _SILENT:
            self.timeline.did(self.name, place)

    def of(self, service: str) -> _Faults:
        """The same for an object store, which reports operation and key."""
        return _Faults(self, service)

    def __repr__(self) -> str:
        return f"Machine({self.name!r}, doing {CURRENT.get().label!r})"


class _Faults:
    def __init__(self, machine: Machine, service: str) -> None:
        self._machine = machine
        self._service = service

    async def __call__(self, operation: str, key: str, *, done: bool) -> None:
        await self._machine.pass_by(f"{self._service}.{operation} {key}", done=done)
