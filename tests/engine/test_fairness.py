"""The cap of a user leaves no permit idle, and a full vendor starves no task."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.full_vendor import wait_for_a_full_vendor
from bench.queueing import late_tasks_of_one_user, one_user
from bench.two_vendors import beside_a_full_vendor
from consumers.runners.dispatcher import USER_CAP
from tasks.calls.lines import SHORTEST_S
from tasks.ledger.records import Waits
from tasks.view import read_view
from tests.engine.harness import Harness
from tests.engine.test_pump import pumping, seen, until_empty


@pytest.fixture
def harness() -> Harness:
    return Harness(topics=())


class Watch:
    """Counts the pictures that are cleaned at once, by user; each takes some seconds."""

    def __init__(self, harness: Harness, seconds: float) -> None:
        self._seconds = seconds
        self.now: list[str] = []
        self.most: dict[str, int] = {}
        self.beside: set[tuple[int, int]] = set()
        """(pictures of u1, pictures of u2) at once."""
        harness.injector.hook = self.see

    async def see(self, place: str, *, done: bool) -> None:
        if place.startswith("objects.process input/"):
            user = place.split("/")[1]
            (self.now.remove if done else self.now.append)(user)
            self.beside.add((self.now.count("u1"), self.now.count("u2")))
            await asyncio.sleep(0 if done else self._seconds)


@pytest.mark.slow
async def test_the_tasks_of_one_user_take_as_long_as_its_permits_need() -> None:
    """Before messages over the cap waited for a place: 110 s, and 3,422 messages published again."""
    took, again = await one_user()
    assert took < 52
    assert again < 1000


@pytest.mark.slow
async def test_no_task_of_one_user_runs_out_of_time_while_permits_are_idle() -> None:
    """Before: 44 of 330."""
    assert await late_tasks_of_one_user() == 0


async def test_a_free_place_takes_the_next_message_at_once(harness: Harness) -> None:
    Watch(harness, 0.4)
    runs = [await harness.order("basic_clean") for _ in range(4)]
    before = harness.now()
    async with pumping(harness, concurrency=2, user_cap=1):
        while not all([await harness.ledger.verdict(run) for run in runs]):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)
        assert harness.now() - before < 4 * 0.4 + 0.6


async def test_the_cap_binds_while_another_user_has_work_and_yields_when_it_has_none(harness: Harness) -> None:
    watch = Watch(harness, 20)
    runs = [await harness.order("basic_clean", user="u2"), *[await harness.order("basic_clean") for _ in range(9)]]
    async with pumping(harness, concurrency=4, user_cap=1):
        await until_empty(harness)
    assert max(mine for mine, others in watch.beside if others) == 1
    # A permit stays free for another user.
    assert max(mine for mine, others in watch.beside if not others) == 3
    for run in runs:
        await harness.promise(run, "success")
    views = [await read_view(run, harness.ledger) for run in runs]
    waits = [{entry.name: entry.record for entry in view.timeline if isinstance(entry.record, Waits)} for view in views]
    # The reason is recorded at the first time, and whenever the number of times has doubled.
    assert waits[0] == {}
    assert {name for found in waits for name in found} <= {f"waits-clean-{seq}" for seq in (0, 1, 2, 4, 8, 16, 32)}
    assert sum("waits-clean-0" in found for found in waits[1:]) >= 5
    assert {wait.why for found in waits for wait in found.values()} == {USER_CAP}


@pytest.mark.slow
@pytest.mark.parametrize("pulsar", [False, True])
def test_a_full_vendor_starves_no_task(pulsar: Any) -> None:
    """Before newer runs let older ones go first: 3 to 7 tasks of the simulated hour ran out of time."""
    waits = wait_for_a_full_vendor(pulsar=pulsar, workers=1, span=600.0)
    assert waits.late == 0
    assert waits.p99_s <= 1.25 * waits.fifo_p99_s


async def test_a_new_run_does_not_overtake_one_that_waits_for_room(harness: Harness) -> None:
    harness.vendor.full = 1
    async with pumping(harness):
        old = await harness.order()
        await seen(harness, "vendor.room")
        await asyncio.sleep(20)
        # The pause of the key may end before the old one comes again.
        harness.pauses._until.clear()
        new = await harness.order()
        await until_empty(harness)
        (first,), (second,) = [[call.at for call in await harness.ledger.calls(run, 1)] for run in (old, new)]
        assert first <= second
        assert harness.injector.count("vendor.room") == 3


async def test_a_run_that_has_waited_for_long_is_asked_for_more_often(harness: Harness) -> None:
    harness.vendor.full = 40
    run = await harness.order()
    async with pumping(harness):
        await until_empty(harness)
    await harness.promise(run, "success")
    delays = [sent.delay for sent in harness.wire.sent if sent.header.stage == "generate" and sent.header.seq]
    assert len(delays) == 40
    assert delays[0] >= 25
    assert delays[-1] <= 1.2 * SHORTEST_S


@pytest.mark.slow
@pytest.mark.parametrize("pulsar", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_vendor_full_for_an_hour_slows_no_task_of_another_and_takes_the_oldest_first(
    pulsar: Any,
) -> None:
    alone = beside_a_full_vendor(pulsar=pulsar, full_s=0.0)
    pace = beside_a_full_vendor(pulsar=pulsar)
    assert pace.late == alone.late == 0
    assert pace.median_s <= 1.1 * alone.median_s
    assert pace.longest_s <= 1.1 * alone.longest_s
    # Three of eighty may ask at about the same time.
    assert pace.overtaken <= 5


def test_a_vendor_that_is_full_for_a_while_slows_no_task_of_another() -> None:
    alone, pace = (beside_a_full_vendor(pulsar=True, full_s=full_s, span=600.0) for full_s in (0.0, 600.0))
    assert pace.late == alone.late == 0
    assert pace.longest_s <= 1.1 * alone.longest_s
    assert pace.overtaken <= 5
