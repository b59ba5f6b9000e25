"""The paid calls of a day: each number has one writer, however many processes want one."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.keys import spend_key, spend_prefix
from services.errors import ObjectsDown
from services.objects.memory import MemoryObjects
from services.vendors.usage import Usage
from tasks.calls.spend import DailySpend, Spent, count_usage, until_tomorrow
from tasks.ledger.ledger import Ledger
from telemetry import metrics
from telemetry.instruments import Metric
from tests.unit.ledger.conftest import NOON, Cuts

NIGHT = 1_763_942_400.0
"""00:00 UTC after `NOON`."""
DAY, NEXT = "2025-11-23", "2025-11-24"


def store(cuts: Cuts | None = None) -> MemoryObjects:
    return MemoryObjects(bucket="ledger-1250000000", clock=lambda: NOON, faults=cuts)


class Process:
    """A process, with a bucket that all processes share."""

    def __init__(self, objects: MemoryObjects) -> None:
        self._ledger = Ledger(objects, clock=lambda: NOON, nonce=lambda: "nonce", rng=random.Random(1))
        self._spend = DailySpend()
        self.give_back, self.is_over = self._spend.give_back, self._spend.is_over

    async def take(self, vendor: str, cap: int, now: float) -> Spent | None:
        return await self._spend.take(vendor, cap, now, self._ledger)


async def numbers(objects: MemoryObjects, day: str = DAY) -> list[str]:
    prefix = spend_prefix("v", day)
    return [item.key.removeprefix(prefix) for item in (await objects.list(prefix)).items]


async def test_each_call_takes_the_next_number_until_the_cap() -> None:
    objects = store()
    spend = Process(objects)
    taken = [await spend.take("v", 3, NOON) for _ in range(5)]
    assert [one.number if one else None for one in taken] == [1, 2, 3, None, None]
    assert await numbers(objects) == ["0000001", "0000002", "0000003"]
    assert spend.is_over("v", 3, NOON)
    assert not spend.is_over("v", 4, NOON)
    assert not spend.is_over("v", None, NOON)
    assert not spend.is_over("other", 3, NOON)


@pytest.mark.parametrize("processes", [1, 2, 7])
async def test_all_processes_together_never_take_more_than_the_cap(processes: int) -> None:
    objects = store()
    asked = [Process(objects) for _ in range(processes)]
    taken = await asyncio.gather(*(asked[n % processes].take("v", 20, NOON) for n in range(50)))
    assert sorted(one.number for one in taken if one) == list(range(1, 21))


async def test_a_number_whose_call_was_not_accepted_is_used_again() -> None:
    spend = Process(store())
    first = await spend.take("v", 1, NOON)
    assert first is not None
    assert await spend.take("v", 1, NOON) is None
    spend.give_back(first)
    assert not spend.is_over("v", 1, NOON)
    assert await spend.take("v", 1, NOON) == first


async def test_a_new_day_begins_with_its_first_number_and_takes_no_spare_of_the_last() -> None:
    objects = store()
    spend = Process(objects)
    last = await spend.take("v", 1, NIGHT - 1)
    assert last is not None
    assert await spend.take("v", 1, NIGHT - 1) is None
    first = await spend.take("v", 1, NIGHT)
    assert first is not None
    spend.give_back(last)
    assert (first.day, first.number) == (NEXT, 1)
    assert await spend.take("v", 1, NIGHT) is None
    assert await numbers(objects) == await numbers(objects, NEXT) == ["0000001"]


@pytest.mark.parametrize("taken", [0, 1, 2, 999, 1000, 1001, 2500])
async def test_a_process_that_begins_late_in_the_day_finds_the_next_number_in_few_requests(taken: int) -> None:
    objects = store()
    for number in range(1, taken + 1):
        await objects.put_new(spend_key("v", DAY, number), b"")
    requests = 0

    async def count(operation: str, key: str, *, done: bool) -> None:
        nonlocal requests
        requests += not done

    objects.faults = count
    found = await Process(objects).take("v", 1_000_000, NOON)
    assert found is not None
    assert found.number == taken + 1
    assert requests <= (24 if taken > 1000 else 3)


async def test_a_cap_that_was_lowered_during_the_day_is_over() -> None:
    objects = store()
    first = Process(objects)
    for _ in range(5):
        await first.take("v", 10, NOON)
    assert await Process(objects).take("v", 3, NOON) is None
    assert await first.take("v", 3, NOON) is None


async def test_without_an_answer_no_number_is_given_and_none_is_given_twice() -> None:
    cuts = Cuts()
    objects = store(cuts)
    spend = Process(objects)
    cuts.cut("put_new", done=True)
    with pytest.raises(ObjectsDown):
        await spend.take("v", 9, NOON)
    found = await spend.take("v", 9, NOON)
    assert found is not None
    # The first number is stored, and it is not known whose it is.
    assert found.number == 2


@given(st.floats(0, 4e9))
def test_the_next_day_is_at_most_a_day_away(now: float) -> None:
    assert 0 < until_tomorrow(now) <= 86_400
    assert until_tomorrow(NIGHT - 60) == 60


def test_usage_is_counted_by_what_the_vendor_counts() -> None:
    counted: list[tuple[Metric, float, dict[str, str]]] = []

    class Sink:
        def count(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
            counted.append((metric, value, labels))

        def observe(self, metric: Metric, value: float, labels: object) -> None: ...

        def level(self, metric: Metric, value: float, labels: object) -> None: ...

    before = metrics.install(Sink())  # type: ignore[arg-type]
    try:
        count_usage("v", "k", Usage(coins=17, seconds=83.5))
        count_usage("v", "k", Usage())
    finally:
        metrics.install(before)
    assert counted == [
        (Metric.VENDOR_USAGE, 17, {"vendor": "v", "kind": "k", "of": "coins"}),
        (Metric.VENDOR_USAGE, 83.5, {"vendor": "v", "kind": "k", "of": "seconds"}),
    ]
