"""Daily cap of a vendor's paid calls, counted without a database: one empty object for each call of a UTC day; usage.

A call first creates `spend/{vendor}/{day}/{number}` with the next free number, which only one writer can; without a
number it is not made. So all processes together never make more calls a day than the cap. A number whose call was not
accepted is used again by its process; one that a process took along when it died is lost, so the day may end that many
calls early.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import msgspec

from messages.keys import spend_key, spend_prefix
from services.errors import Exists
from services.repeat import repeated
from services.vendors.usage import Usage
from tasks.ledger.ledger import Ledger
from telemetry import metrics
from telemetry.instruments import Metric

__all__ = ["DailySpend", "Spent", "count_usage", "until_tomorrow"]

_PAGE: Final = 1000
"""Numbers in one page of a listing."""


class Spent(msgspec.Struct, frozen=True):
    """The number of a paid call."""

    vendor: str
    day: str
    number: int


def until_tomorrow(now: float) -> float:
    """Return the seconds until the next UTC day; `now` is seconds since the epoch."""
    time = datetime.fromtimestamp(now, UTC)
    tomorrow = time.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (tomorrow - time).total_seconds()


def _day_of(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()


class _Day:
    """The numbers of one vendor and day, as far as this process knows them."""

    def __init__(self, day: str) -> None:
        self.day = day
        self.taken = 0
        """Highest number that is known to be taken; all below it are too."""
        self.spare: list[Spent] = []
        self.lock = asyncio.Lock()


class DailySpend:
    """Numbers of paid calls, as a process takes them."""

    def __init__(self) -> None:
        self._days: dict[str, _Day] = {}

    async def take(self, vendor: str, cap: int, now: float, ledger: Ledger) -> Spent | None:
        """Take a number for a call; None if the day's calls are made.

        Args:
            vendor: name of the vendor.
            cap: calls a day.
            now: seconds since the epoch, by the store's clock.
            ledger: its bucket has the numbers.

        Raises:
            services.errors.ObjectsDown: it is not known whether there is a free number.
        """
        day = self._day(vendor, _day_of(now))
        async with day.lock:
            if day.spare:
                return day.spare.pop()
            while day.taken < cap:
                number = day.taken + 1
                try:
                    await ledger.objects.put_new(spend_key(vendor, day.day, number), b"")
                except Exists:
                    day.taken = await _highest(vendor, day, cap, ledger)
                else:
                    day.taken = number
                    metrics.level(Metric.VENDOR_SPENT, number, vendor=vendor)
                    return Spent(vendor, day.day, number)
        return None

    def is_over(self, vendor: str, cap: int | None, now: float) -> bool:
        """Return True if this process knows that the day's calls are made."""
        day = self._days.get(vendor)
        return cap is not None and day is not None and day.day == _day_of(now) and day.taken >= cap and not day.spare

    def give_back(self, spent: Spent) -> None:
        """Let another call of this process use a number: its own was not accepted."""
        day = self._days.get(spent.vendor)
        if day is not None and day.day == spent.day:
            day.spare.append(spent)

    def _day(self, vendor: str, day: str) -> _Day:
        found = self._days.get(vendor)
        if found is None or found.day != day:
            found = self._days[vendor] = _Day(day)
        return found


def count_usage(vendor: str, kind: str, usage: Usage) -> None:
    """Add a usage to the metric, once for each call: where its record was created, or a text was answered.

    Args:
        vendor: name of the vendor.
        kind: of the task.
        usage: as the vendor states it; what it does not count is left out.
    """
    for name, amount in msgspec.structs.asdict(usage).items():
        if amount:
            metrics.count(Metric.VENDOR_USAGE, amount, vendor=vendor, kind=kind, of=name)


async def _highest(vendor: str, day: _Day, cap: int, ledger: Ledger) -> int:
    """Return the highest number that is taken, from listings; at least one above the last known one."""
    low, high = day.taken + 1, cap
    page = await _after(vendor, day, low, _PAGE, ledger)
    if len(page) < _PAGE:
        return min(max(page, default=low), cap)
    # A process that begins late in the day: halve the rest rather than page through it.
    low = max(page, default=low)
    while low < high:
        middle = (low + high + 1) // 2
        found = await _after(vendor, day, middle - 1, 1, ledger)
        low, high = (max(found), high) if found else (low, middle - 1)
    return min(low, cap)


async def _after(vendor: str, day: _Day, number: int, limit: int, ledger: Ledger) -> list[int]:
    prefix, after = spend_prefix(vendor, day.day), spend_key(vendor, day.day, number)
    page = await repeated(partial(ledger.objects.list, prefix, after=after, limit=limit), ledger.rng)
    return [int(item.key.removeprefix(prefix)) for item in page.items if item.key.removeprefix(prefix).isdecimal()]
