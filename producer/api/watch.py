"""Shared poll of the ledger for all that watch a step: streams and waiting requests.

The first watcher starts the poll and the last one ends it, so a client that disconnects costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from messages.errors import ScfWorkersError
from messages.keys import RunId
from producer.api.progress import Numbered, events_of, is_over
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import SlotEnd, Staged
from tasks.lists.states import NEEDED
from tasks.view import View, current_number, read_records, view_of
from telemetry import logs
from telemetry.events import Event

__all__ = ["Feed", "Seen", "Watch", "look"]

_QUICK_S: Final = 1.0
"""Seconds between two polls of a step that changes."""

_SLOW_S: Final = 5.0
"""Seconds between two polls of a step that has not changed for a while."""

_GROWTH: Final = 1.15

_NEEDED: Final = (*NEEDED, SlotEnd, Staged)
"""Records that are read: those of the state, and of the progress of slots."""

log = logs.get(__name__)


class Seen(msgspec.Struct, frozen=True):
    """A step as its records show it."""

    run: RunId
    """The run that counts."""
    view: View
    events: tuple[Numbered, ...]
    """Public states since the begin of the run, oldest first."""

    @property
    def version(self) -> str:
        """Text that changes with every record."""
        return f"{self.run.run}-{len(self.view.timeline)}"

    @property
    def age(self) -> tuple[int, int]:
        """Order of looks at a step: records are never taken back, and a later run replaces an earlier one."""
        return self.run.run, len(self.view.timeline)

    @property
    def exists(self) -> bool:
        """True if the run has a record."""
        return bool(self.view.timeline)

    @property
    def over(self) -> bool:
        """True once nothing more will happen."""
        return is_over(self.view)


async def look(step: RunId, ledger: Ledger, before: Seen | None = None) -> Seen:
    """Return a step as its records show it now.

    Args:
        step: any run of it.
        ledger: where the records are.
        before: an earlier look, which is returned if nothing has changed.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    runs = await ledger.trail(step)
    run = msgspec.structs.replace(step, run=current_number(runs))
    trail: Mapping[str, float] = runs.get(run.run, {})
    if before is not None and before.version == f"{run.run}-{len(trail)}":
        return before
    records = await read_records(run, trail, ledger, only=_NEEDED)
    return Seen(run, view_of(run, trail, records), events_of(run, trail, records))


class Feed:
    """The poll of one step, shared by its watchers."""

    def __init__(self, step: RunId, ledger: Ledger) -> None:
        self.seen: Seen | None = None
        """The last look; None before the first."""
        self.watchers = 0
        self._step = step
        self._ledger = ledger
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once the process ends, or nothing more will happen."""
        return self._closed or (self.seen is not None and self.seen.over)

    def close(self) -> None:
        """End all streams of it."""
        self._closed = True
        self._notify()

    def learn(self, seen: Seen) -> None:
        """Take over a look, unless a later one is known."""
        if self.seen is None or seen.age > self.seen.age:
            self.seen = seen
            self._notify()

    async def changed(self, limit_s: float) -> None:
        """Wait for a change, at most some seconds."""
        if self._closed:
            return
        waiter = self._changed
        try:
            async with asyncio.timeout(limit_s):
                await waiter.wait()
        except TimeoutError:
            return

    async def poll(self) -> None:
        """Look again and again until nothing more will happen."""
        pause = _QUICK_S
        while not self.closed:
            try:
                seen = await look(self._step, self._ledger, self.seen)
            except ScfWorkersError as error:
                log.warning(Event.API_WATCH_FAILED, error=error, task_id=self._step.task)
                pause = _SLOW_S
            except Exception as error:  # noqa: BLE001 - a defect must not leave the streams without a poll
                log.error(Event.API_WATCH_FAILED, error=error, task_id=self._step.task)
                pause = _SLOW_S
            else:
                if seen is not self.seen:
                    pause = _QUICK_S
                    self.learn(seen)
            await asyncio.sleep(pause)
            pause = min(_SLOW_S, pause * _GROWTH)

    def _notify(self) -> None:
        waiter, self._changed = self._changed, asyncio.Event()
        waiter.set()


class Watch:
    """The feeds of a process.

    Args:
        ledger: where the records are.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._feeds: dict[RunId, tuple[Feed, asyncio.Task[None]]] = {}
        self._closed = False

    @property
    def polls(self) -> int:
        """Number of steps that are polled now."""
        return len(self._feeds)

    def known(self, step: RunId) -> Seen | None:
        """Return the last look at a step that is watched and has a record; it is some seconds old at most."""
        feed, _ = self._feeds.get(step, (None, None))
        return feed.seen if feed is not None and feed.seen is not None and feed.seen.exists else None

    @asynccontextmanager
    async def follow(self, step: RunId, seen: Seen | None = None) -> AsyncGenerator[Feed]:
        """Watch a step.

        Args:
            step: its first run.
            seen: a look that was just made.
        """
        feed, task = self._feeds.get(step, (None, None))
        if feed is None or task is None or task.done():
            # A poll ends with its run; a replay begins another.
            feed = Feed(step, self._ledger)
            task = asyncio.create_task(feed.poll(), name=f"watch-{step.task}")
            self._feeds[step] = (feed, task)
        if seen is not None:
            feed.learn(seen)
        if self._closed:
            feed.close()
        feed.watchers += 1
        try:
            yield feed
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                task.cancel()
                if self._feeds.get(step) == (feed, task):
                    del self._feeds[step]

    def close(self) -> None:
        """End every stream; those that begin later end at once."""
        self._closed = True
        for feed, _ in self._feeds.values():
            feed.close()
