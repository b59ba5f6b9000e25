"""Lines of runs that wait for room at a vendor, one for each key, as far as this process knows them.

Brokers deliver by due time, so a run that comes again later would be overtaken by newer ones. Here the run that has
waited longest goes first: a newer one does not ask for room while an older one waits, and a run comes again the sooner,
the older it is.
"""

from __future__ import annotations

from typing import Final

import msgspec

from messages.keys import RunId
from services.vendors.port import VendorKey

__all__ = ["SHORTEST_S", "Line", "VendorLines", "room_delay"]

SHORTEST_S: Final = 4.0
"""Seconds between two questions for room, at least."""

_HALVED_AT_S: Final = 30.0
"""Age of a run, in seconds, at which its delay is half of the longest."""

_STRETCH: Final = 1.2
"""Most by which jitter stretches a delay."""

_GRACE_S: Final = 5.0
"""Seconds after its due time in which a run keeps its place: its message may wait for a permit."""

_MOST_AT_ONCE: Final = 64


def room_delay(age: float, ahead: int, longest: float) -> float:
    """Return the seconds until a run asks for room again.

    Args:
        age: seconds since the run was accepted.
        ahead: older runs that wait.
        longest: seconds that a new run waits.
    """
    alone = max(SHORTEST_S, longest / (1 + max(0.0, age) / _HALVED_AT_S))
    return min(longest, alone * (1 + ahead))


class _Place(msgspec.Struct, frozen=True):
    since: float
    """Time of acceptance, seconds since the epoch: the order of the line."""
    until: float
    """Time after which it is not expected any more, seconds since the epoch."""


class Line:
    """Runs that wait for room with one key. Pure.

    After room was found more runs may ask at once, twice as many each time, until the vendor is full again.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[RunId, int], _Place] = {}
        self._may_ask = 1

    def ahead(self, run: RunId, slot: int, since: float, now: float) -> int:
        """Return the number of older runs that wait."""
        self._places = {who: place for who, place in self._places.items() if place.until > now}
        return sum((place.since, who) < (since, (run, slot)) for who, place in self._places.items())

    def may_ask(self, ahead: int) -> bool:
        """Return True if a run with so many ahead may ask for room."""
        return ahead < self._may_ask

    def wait(self, run: RunId, slot: int, since: float, now: float, delay: float) -> None:
        """Keep a run's place until it comes again, after a delay that will be jittered."""
        self._places[run, slot] = _Place(since, now + _STRETCH * delay + _GRACE_S)

    def was_full(self) -> None:
        """Let only the oldest run ask."""
        self._may_ask = 1

    def had_room(self, run: RunId, slot: int) -> None:
        """Take a run out of the line, and let more ask."""
        self._places.pop((run, slot), None)
        self._may_ask = min(_MOST_AT_ONCE, self._may_ask * 2) if self._places else 1


class VendorLines:
    """Lines of a process, by key. `now` is seconds since the epoch."""

    def __init__(self) -> None:
        self._lines: dict[VendorKey, Line] = {}

    def ahead(self, key: VendorKey, run: RunId, slot: int, since: float, now: float) -> int:
        """Return the number of older runs that wait, if the run must not ask for room before them; else 0."""
        line = self._lines.get(key)
        if line is None:
            return 0
        ahead = line.ahead(run, slot, since, now)
        return 0 if line.may_ask(ahead) else ahead

    def wait(self, key: VendorKey, run: RunId, slot: int, since: float, now: float, delay: float) -> None:
        """Keep the place of a run that comes again after a delay, which will be jittered."""
        self._line(key).wait(run, slot, since, now, delay)

    def was_full(self, key: VendorKey) -> None:
        """Let only the oldest run ask."""
        self._line(key).was_full()

    def had_room(self, key: VendorKey, run: RunId, slot: int) -> None:
        """Take a run out of its line."""
        if line := self._lines.get(key):
            line.had_room(run, slot)

    def _line(self, key: VendorKey) -> Line:
        return self._lines.setdefault(key, Line())
