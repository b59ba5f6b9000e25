"""Lines of runs that wait for room at a vendor, with whichever of its keys, as far as this process knows them.

Brokers deliver by due time, so a run that comes again later would be overtaken by newer ones. Here the run that has
waited longest goes first: a newer one does not ask for room while an older one waits, and a run comes again the sooner,
the older it is. The age of a run counts by the weight of its priority, so that urgent runs overtake and none starves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

import msgspec

from messages.codec import Priority
from messages.keys import RunId
from services.vendors.port import VendorKey
from services.vendors.registry import choose_key

__all__ = ["SHORTEST_S", "Line", "VendorLines", "Waiter", "room_delay"]

SHORTEST_S: Final = 4.0
"""Seconds between two questions for room, at least."""

_HALVED_AT_S: Final = 30.0
"""Age of a run, in seconds, at which its delay is half of the longest."""

_STRETCH: Final = 1.2
"""Most by which jitter stretches a delay."""

_GRACE_S: Final = 5.0
"""Seconds after its due time in which a run keeps its place: its message may wait for a permit."""

_MOST_AT_ONCE: Final = 64


class Waiter(msgspec.Struct, frozen=True):
    """A paid call that waits for room."""

    run: RunId
    slot: int
    since: float
    """Time of the run's acceptance, seconds since the epoch."""
    priority: Priority = Priority.NORMAL

    def age(self, now: float) -> float:
        """Return the seconds that it has waited, as its priority counts them."""
        return max(0.0, now - self.since) * self.priority.weight / Priority.NORMAL.weight


def room_delay(age: float, ahead: int, longest: float) -> float:
    """Return the seconds until a run asks for room again.

    Args:
        age: seconds that it has waited (`Waiter.age`).
        ahead: older ones that wait.
        longest: seconds that a new run waits.
    """
    alone = max(SHORTEST_S, longest / (1 + age / _HALVED_AT_S))
    return min(longest, alone * (1 + ahead))


class Line:
    """Paid calls that wait for room at one vendor. Pure; `now` is seconds since the epoch.

    After room was found more of them may ask at once, twice as many each time, until the vendor is full again.
    """

    def __init__(self) -> None:
        self._until: dict[Waiter, float] = {}
        """Time after which each is not expected any more."""
        self._may_ask = 1

    def ahead(self, waiter: Waiter, now: float) -> int:
        """Return the number of older ones that wait."""
        self._forget(now)
        mine = (-waiter.age(now), waiter.run, waiter.slot)
        return sum((-other.age(now), other.run, other.slot) < mine for other in self._until)

    def length(self, now: float) -> int:
        """Return the number of those that wait."""
        self._forget(now)
        return len(self._until)

    def _forget(self, now: float) -> None:
        self._until = {other: until for other, until in self._until.items() if until > now}

    def may_ask(self, ahead: int) -> bool:
        """Return True if one with so many ahead may ask for room."""
        return ahead < self._may_ask

    def wait(self, waiter: Waiter, now: float, delay: float) -> None:
        """Keep its place until it comes again, after a delay that will be jittered."""
        self._until[waiter] = now + _STRETCH * delay + _GRACE_S

    def was_full(self) -> None:
        """Let only the oldest one ask."""
        self._may_ask = 1

    def had_room(self, waiter: Waiter) -> None:
        """Take one out of the line, and let more ask."""
        self._until.pop(waiter, None)
        self._may_ask = min(_MOST_AT_ONCE, self._may_ask * 2) if self._until else 1


class VendorLines:
    """Lines of a process, by vendor, and the state of its keys: a run takes whichever key has room."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._resting: dict[VendorKey, float] = {}
        """Full key -> when it is asked again."""
        self._held: Counter[VendorKey] = Counter()
        """Calls under way."""
        self._turns: Counter[str] = Counter()

    def ahead(self, vendor: str, waiter: Waiter, now: float) -> int:
        """Return the number of older ones that wait, if this one must not ask for room before them; else 0."""
        line = self._lines.get(vendor)
        if line is None:
            return 0
        ahead = line.ahead(waiter, now)
        return 0 if line.may_ask(ahead) else ahead

    def take(self, keys: Collection[VendorKey], now: float, share: int | None = None) -> VendorKey | None:
        """Return the key whose turn it is, and count a call with it as under way; None if no key can take one.

        Args:
            keys: of a vendor.
            now: seconds since the epoch.
            share: calls at once with one key; None for no limit.
        """
        taken = {key for key in keys if self.is_resting(key, now) or (share is not None and self._held[key] >= share)}
        vendor = next((key.vendor for key in keys), "")
        chosen = choose_key(keys, self._turns[vendor], taken)
        if chosen is not None:
            self._turns[vendor] += 1
            self._held[chosen] += 1
        return chosen

    def give_back(self, key: VendorKey) -> None:
        """Count a call as ended; see `take`."""
        self._held[key] -= 1

    def held(self, key: VendorKey) -> int:
        """Return the calls with a key that are under way in this process."""
        return self._held[key]

    def rest(self, key: VendorKey, now: float, seconds: float) -> None:
        """Make no call with a full key for some seconds."""
        self._resting[key] = max(self._resting.get(key, 0.0), now + seconds)

    def is_resting(self, key: VendorKey, now: float) -> bool:
        """Return True if a key was full a short while ago."""
        return self._resting.get(key, 0.0) > now

    def wait(self, vendor: str, waiter: Waiter, now: float, delay: float) -> None:
        """Keep the place of one that comes again after a delay, which will be jittered."""
        self._line(vendor).wait(waiter, now, delay)

    def waiting(self, vendor: str, now: float) -> int:
        """Return the number of runs' slots that wait for room at a vendor."""
        line = self._lines.get(vendor)
        return line.length(now) if line else 0

    def was_full(self, vendor: str) -> None:
        """Let only the oldest one ask: no key had room."""
        self._line(vendor).was_full()

    def had_room(self, vendor: str, waiter: Waiter) -> None:
        """Take one out of its line."""
        if line := self._lines.get(vendor):
            line.had_room(waiter)

    def _line(self, vendor: str) -> Line:
        return self._lines.setdefault(vendor, Line())
