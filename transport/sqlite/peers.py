"""Peers of a broker: liveness detection and wake-ups, by named pipes in a folder beside the file.

A broker that consumes is a holder and has two named pipes in the folder:
- `{name}.alive`: the holder keeps it open for writing and never writes. Its peers keep it open for reading: when the
  holder's process ends, in any way, the kernel closes its side and the peers' loops see the end of file at once.
- `{name}.wake`: the holder keeps it open for reading; a process that makes a message deliverable writes one byte.

So no process polls: an idle consumer sleeps in the kernel, and a message or a `kill -9` wakes it in about a
millisecond. Polling `PRAGMA data_version` and file locks would wake every process every few milliseconds. Sockets would
work too, but their paths are limited to 108 bytes (unix(7)). A process that is stopped, not dead, keeps its pipe open;
its lease, recorded in the file, detects it. Leases use monotonic time: it is the same for all processes of a machine,
does not jump when the wall clock is set and does not run while a laptop sleeps (clock_gettime(2)).

The folder changes only inside a write transaction, so no process sees a partly created or partly removed peer.
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

from transport.sqlite.store import NO_HOLDER, Store

__all__ = ["NoPeers", "Peers"]

_NEW_MESSAGE: Final = b"."
_NEW_PEER: Final = b"+"
_RENEWALS: Final = 4
"""A lease is renewed this many times before it could end."""


class NoPeers:
    """Null object in place of `Peers` for `:memory:`, whose only holder is this broker."""

    holder = NO_HOLDER + 1
    """Our number in the file."""

    def maintenance_due(self, now: float) -> bool:
        """Return True if `maintain` should run now. On the loop. `now` is monotonic seconds, here and below."""
        del now
        return False

    @property
    def maintain_at(self) -> float:
        """Latest time of the next `maintain`, in monotonic seconds. On the loop."""
        return math.inf

    def lease_expired(self, now: float) -> bool:
        """Return True if our lease expired before it was renewed: peers may hold our messages now. On the loop."""
        del now
        return False

    def maintain(self, store: Store, now: float) -> None:
        """Register or renew our lease, release messages of dead and hanging peers, find new peers. In a transaction."""

    def dead(self, store: Store) -> list[str]:
        """Return the peers that ended without leaving."""
        del store
        return []

    def reclaim(self, store: Store, now: float) -> None:
        """Remove dead peers and release the messages of dead and hanging peers. In a transaction."""

    def committed(self, store: Store) -> None:
        """Wake the peers if a message became deliverable or this broker is new. After a commit."""

    def leave(self, store: Store) -> None:
        """Remove this broker as a holder and release all messages it holds. In a transaction."""

    def attach(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever a peer wakes us or dies; attach again to include newly found peers. On the loop."""

    def close(self) -> None:
        """Close the pipes. On the loop."""


class Peers(NoPeers):
    """This broker as a holder, and its peers. Methods run in the store's thread unless marked `On the loop`."""

    def __init__(self, folder: Path, name: str, lease: float) -> None:
        self._folder = folder
        self._name = name
        self._lease = lease
        self._pipes: dict[str, int] = {}
        self._to_close: list[int] = []
        self._watched: dict[str, int] = {}
        self._found: dict[str, int] = {}
        self._listening = -1
        self._expires = 0.0
        self._renewed = 0.0
        self._peers_changed = False
        self._entered = False
        self.holder = NO_HOLDER

    def maintenance_due(self, now: float) -> bool:
        """Return True if a peer came or died, or a quarter of the lease is over. On the loop."""
        return self._peers_changed or now >= self.maintain_at

    @property
    def maintain_at(self) -> float:
        """Time at which a quarter of the lease has passed since the last renewal. On the loop."""
        return math.inf if self.holder == NO_HOLDER else self._expires - self._lease * (1 - 1 / _RENEWALS)

    def lease_expired(self, now: float) -> bool:
        """Return True if this process was stopped for longer than its lease. On the loop."""
        return self.holder != NO_HOLDER and now > self._expires

    def maintain(self, store: Store, now: float) -> None:
        """Renew our lease or register, release messages of dead peers, open the pipes of new peers."""
        self._peers_changed = False
        self._renewed = now + self._lease
        if not store.renew_lease(self._name, self._renewed):
            self._enter(store)
        self.reclaim(store, now)
        for name in self._names("alive"):
            known = name == self._name or name in self._watched or name in self._found
            pipe = None if known else _open_if_alive(self._path(name, "alive"))
            if pipe is not None:
                self._found[name] = pipe

    def dead(self, store: Store) -> list[str]:
        """Return the holders in the file and the names in the folder whose `alive` pipe has no writer."""
        names = (store.holders() | self._names()) - {self._name}
        return [name for name in names if not _is_alive(self._path(name, "alive"))]

    def reclaim(self, store: Store, now: float) -> None:
        """Release the messages of dead and hanging peers; remove the pipes of dead peers."""
        for name in self.dead(store):
            store.remove_dead(name)
            self._remove(name)
        store.reclaim(now)

    def _enter(self, store: Store) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._remove(self._name)
        self._to_close += self._pipes.values()
        for kind in ("alive", "wake"):
            path = self._path(self._name, kind)
            os.mkfifo(path, 0o600)
            # Opened for reading and writing: reads never see an end of file, and the open never blocks.
            self._pipes[kind] = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.holder = store.register(self._name, self._renewed)
        self._entered = True

    def committed(self, store: Store) -> None:
        """Write to every wake pipe but ours; after a renewal also return free space to the disk."""
        note = (_NEW_PEER if self._entered else b"") + (_NEW_MESSAGE if store.made_deliverable else b"")
        if self._expires != self._renewed:
            self._expires = self._renewed
            store.vacuum()
        self._entered = False
        for name in self._names("wake") if note else ():
            if name != self._name:
                _wake_peer(self._path(name, "wake"), note)

    def leave(self, store: Store) -> None:
        """Remove this broker as a holder, release its messages and remove its pipes."""
        if self.holder != NO_HOLDER:
            store.remove_holder(self._name)
            store.reclaim(0.0)  # no lease ends before boot: this releases only our messages
            self._remove(self._name)

    def attach(self, wake: Callable[[], None]) -> None:
        """Watch our wake pipe and the `alive` pipes of the peers. On the loop."""
        loop = asyncio.get_running_loop()
        wake_pipe = self._pipes.get("wake", self._listening)
        if wake_pipe != self._listening:
            loop.add_reader(wake_pipe, self._on_wake, wake_pipe, wake)
            self._listening = wake_pipe
        while self._found:
            name, pipe = self._found.popitem()
            self._watched[name] = pipe
            loop.add_reader(pipe, self._on_death, name, wake)
        self._close_pipes()

    def close(self) -> None:
        """Close every pipe. On the loop."""
        self._to_close += self._pipes.values()
        self._to_close += self._found.values()
        self._to_close += self._watched.values()
        self._pipes, self._found, self._watched = {}, {}, {}
        self._close_pipes()

    def _on_wake(self, wake_pipe: int, wake: Callable[[], None]) -> None:
        with suppress(BlockingIOError):
            self._peers_changed |= _NEW_PEER in os.read(wake_pipe, 4096)
        wake()

    def _on_death(self, name: str, wake: Callable[[], None]) -> None:
        self._to_close.append(self._watched.pop(name))
        self._close_pipes()
        self._peers_changed = True
        wake()

    def _close_pipes(self) -> None:
        loop = asyncio.get_running_loop()
        while self._to_close:
            pipe = self._to_close.pop()
            loop.remove_reader(pipe)
            os.close(pipe)

    def _path(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}"

    def _names(self, kind: str = "") -> set[str]:
        """Return the names that have a pipe of a kind in the folder."""
        try:
            files = os.listdir(self._folder)  # noqa: PTH208 - runs at every commit: names are all it needs
        except FileNotFoundError:
            return set()
        return {file.partition(".")[0] for file in files if file.endswith(kind)}

    def _remove(self, name: str) -> None:
        for kind in ("alive", "wake"):
            self._path(name, kind).unlink(missing_ok=True)


def _open_if_alive(life: Path) -> int | None:
    """Open an `alive` pipe for reading; return None if no process has it open for writing."""
    try:
        pipe = os.open(life, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        os.read(pipe, 1)  # returns at once, with an end of file, if there is no writer
    except BlockingIOError:
        return pipe
    os.close(pipe)
    return None


def _is_alive(life: Path) -> bool:
    pipe = _open_if_alive(life)
    if pipe is not None:
        os.close(pipe)
    return pipe is not None


def _wake_peer(wake_pipe: Path, note: bytes) -> None:
    """Write to a peer's wake pipe. A full pipe wakes the peer already; a pipe without a reader has no owner."""
    try:
        pipe = os.open(wake_pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return  # the peer is gone; a live peer that is missed here looks for messages at its next lease renewal
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(pipe, note)
    os.close(pipe)
