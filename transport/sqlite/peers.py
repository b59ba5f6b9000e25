"""The folder beside the file: which brokers are alive, and how to wake them.

A broker that consumes is a holder, and has two named pipes in the folder:
- `{name}.life`: the holder keeps it open for writing and never writes. Its neighbours keep it open for reading: when
  the holder ends, however it ends, the kernel closes its side and their loops see the end of the file at once.
- `{name}.bell`: the holder keeps it open for reading; whoever makes a message deliverable writes one byte.

So nobody polls: an idle consumer sleeps in the kernel, and a message or a `kill -9` wakes it in about a millisecond.
Looking at `PRAGMA data_version` and at file locks instead would wake every process every few milliseconds; sockets
would do as well as pipes, but their paths end at 108 bytes (unix(7)). A process that is stopped, not dead, keeps its
pipe: its lease, kept in the file, tells. Leases are measured in monotonic time, which is one for all processes of a
machine, does not leap when the wall clock is set and does not run while a laptop sleeps (clock_gettime(2)).

The folder changes only inside a write transaction, so no process ever sees a half-made or half-removed neighbour.
A child forked without exec inherits the pipe and hides its parent's death until the lease ends: do not fork consumers.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from transport.sqlite.store import NOBODY, Store

__all__ = ["Alone", "Peers"]

_MESSAGE: Final = b"."
_NEIGHBOUR: Final = b"+"
_TURNS: Final = 4
"""A lease is renewed this many times before it could end."""


class Alone:
    """What a broker without neighbours has in place of `Peers`: it is the only holder there can be."""

    holder = NOBODY + 1
    """Our number in the file."""

    def due(self, now: float) -> bool:
        """Loop: whether to `tend` at this time. `now` is monotonic seconds, here and below."""
        del now
        return False

    @property
    def tend_at(self) -> float:
        """Loop: when to `tend` at the latest; monotonic seconds."""
        return math.inf

    def lapsed(self, now: float) -> bool:
        """Loop: whether our lease ended before we came to renew it, so that others may have what we held."""
        del now
        return False

    def tend(self, store: Store, now: float) -> None:
        """Enter or renew, give back what the dead and the hung held, find new neighbours. Inside a transaction."""

    def dead(self, store: Store) -> list[str]:
        """Neighbours that ended without leaving."""
        del store
        return []

    def reclaim(self, store: Store, now: float) -> None:
        """Strike the dead off and give back what they held, and what the hung held. Inside a transaction."""

    def committed(self, store: Store) -> None:
        """After a commit: wake the neighbours if there is a message for them, or if we are new."""

    def leave(self, store: Store) -> None:
        """Strike ourselves off and give back everything we hold. Inside a transaction."""

    def attach(self, wake: Callable[[], None]) -> None:
        """Loop: call `wake` whenever a neighbour wakes us or dies, also for neighbours found since."""

    def close(self) -> None:
        """Loop: let go of the neighbours."""


class Peers(Alone):
    """This broker as a holder, and its neighbours. Methods are for the store's thread unless they say otherwise."""

    def __init__(self, folder: Path, name: str, lease: float) -> None:
        self._folder = folder
        self._name = name
        self._lease = lease
        self._pipes: dict[str, int] = {}
        self._retired: list[int] = []
        self._watched: dict[str, int] = {}
        self._found: dict[str, int] = {}
        self._listening = -1
        self._expires = 0.0
        self._renewed = 0.0
        self._stale = False
        self._entered = False
        self.holder = NOBODY

    def due(self, now: float) -> bool:
        """Whether something changed, or a quarter of the lease is over."""
        return self._stale or now >= self.tend_at

    @property
    def tend_at(self) -> float:
        """A quarter of the lease after the last renewal."""
        return math.inf if self.holder == NOBODY else self._expires - self._lease * (1 - 1 / _TURNS)

    def lapsed(self, now: float) -> bool:
        """Whether this process was stopped for longer than its lease."""
        return self.holder != NOBODY and now > self._expires

    def tend(self, store: Store, now: float) -> None:
        """Renew or enter, give back what the dead held, open the pipes of those who came."""
        self._stale = False
        self._renewed = now + self._lease
        if not store.renew(self._name, self._renewed):
            self._enter(store)
        self.reclaim(store, now)
        for name in self._names("life"):
            known = name == self._name or name in self._watched or name in self._found
            pipe = None if known else _open_if_alive(self._path(name, "life"))
            if pipe is not None:
                self._found[name] = pipe

    def dead(self, store: Store) -> list[str]:
        """Those of the file and of the folder whose pipe has no writer."""
        names = (store.holders() | self._names()) - {self._name}
        return [name for name in names if not _is_alive(self._path(name, "life"))]

    def reclaim(self, store: Store, now: float) -> None:
        """Remove their pipes too."""
        for name in self.dead(store):
            store.inherit(name)
            self._remove(name)
        store.reclaim(now)

    def _enter(self, store: Store) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._remove(self._name)
        self._retired += self._pipes.values()
        for kind in ("life", "bell"):
            path = self._path(self._name, kind)
            os.mkfifo(path, 0o600)
            # Open for both: the bell never ends though those who ring it leave, and neither open waits for anybody.
            self._pipes[kind] = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.holder = store.enter(self._name, self._renewed)
        self._entered = True

    def committed(self, store: Store) -> None:
        """Ring every bell but ours; after a renewal also give free space back to the disk."""
        note = (_NEIGHBOUR if self._entered else b"") + (_MESSAGE if store.stirred else b"")
        if self._expires != self._renewed:
            self._expires = self._renewed
            store.tidy()
        self._entered = False
        for name in self._names("bell") if note else ():
            if name != self._name:
                _ring(self._path(name, "bell"), note)

    def leave(self, store: Store) -> None:
        """Remove our pipes too."""
        if self.holder != NOBODY:
            store.forget(self._name)
            store.reclaim(0.0)  # no lease ends before the machine began: this gives back ours alone
            self._remove(self._name)

    def attach(self, wake: Callable[[], None]) -> None:
        """Our bell, and the pipes of the neighbours."""
        loop = asyncio.get_running_loop()
        bell = self._pipes.get("bell", self._listening)
        if bell != self._listening:
            loop.add_reader(bell, self._rung, bell, wake)
            self._listening = bell
        while self._found:
            name, pipe = self._found.popitem()
            self._watched[name] = pipe
            loop.add_reader(pipe, self._gone, name, wake)
        self._drop_retired()

    def close(self) -> None:
        """Close every pipe."""
        self._retired += self._pipes.values()
        self._retired += self._found.values()
        self._retired += self._watched.values()
        self._pipes, self._found, self._watched = {}, {}, {}
        self._drop_retired()

    def _rung(self, bell: int, wake: Callable[[], None]) -> None:
        with suppress(BlockingIOError):
            self._stale |= _NEIGHBOUR in os.read(bell, 4096)
        wake()

    def _gone(self, name: str, wake: Callable[[], None]) -> None:
        self._retired.append(self._watched.pop(name))
        self._drop_retired()
        self._stale = True
        wake()

    def _drop_retired(self) -> None:
        loop = asyncio.get_running_loop()
        while self._retired:
            pipe = self._retired.pop()
            loop.remove_reader(pipe)
            os.close(pipe)

    def _path(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}"

    def _names(self, kind: str = "") -> set[str]:
        """Those that have a pipe in the folder."""
        try:
            files = os.listdir(self._folder)  # noqa: PTH208 - runs at every commit: names are all it needs
        except FileNotFoundError:
            return set()
        return {file.partition(".")[0] for file in files if file.endswith(kind)}

    def _remove(self, name: str) -> None:
        for kind in ("life", "bell"):
            self._path(name, kind).unlink(missing_ok=True)


def _open_if_alive(life: Path) -> int | None:
    """The pipe, open for reading, if somebody keeps it open for writing."""
    try:
        pipe = os.open(life, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        os.read(pipe, 1)  # the end of the file: nobody writes
    except BlockingIOError:
        return pipe
    os.close(pipe)
    return None


def _is_alive(life: Path) -> bool:
    pipe = _open_if_alive(life)
    if pipe is not None:
        os.close(pipe)
    return pipe is not None


def _ring(bell: Path, note: bytes) -> None:
    """Write into a neighbour's bell. A full one is ringing already; one without a reader has no owner any more."""
    try:
        pipe = os.open(bell, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return  # gone; and whoever is not reached looks by itself a few times a lease
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(pipe, note)
    os.close(pipe)
