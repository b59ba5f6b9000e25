"""The daily cap of a vendor: once the calls of the day are made nothing is paid, and tasks wait for the next day."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Mapping

from consumers.engine.pauses import Pauses
from consumers.runners.backlog import tell_vendors
from messages.codes import Code
from services.errors import ObjectsDown
from services.vendors.port import key_of
from services.vendors.usage import Usage
from tasks.calls.spend import until_tomorrow
from tasks.ledger.records import SlotEnd, Verdict
from tasks.slots import end_slot
from telemetry import metrics
from telemetry.instruments import Metric
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness
from tests.engine.test_paid import FULL, LOST

VENDOR = "runninghub"
SHORT = 1200.0
"""Seconds before midnight at which a test begins: less than the deadline of a task."""


def cap(harness: Harness, calls: int) -> None:
    """Set the daily number of calls."""
    harness.out = dataclasses.replace(
        harness.out, policy=dataclasses.replace(harness.out.policy, daily_calls={VENDOR: calls})
    )
    harness.engine = harness.new_engine()


async def spent(harness: Harness) -> int:
    """Numbers in use, of all days."""
    return len((await harness.ledger.objects.list("spend/")).items)


async def begin(harness: Harness, before_midnight: float) -> None:
    """Wait until this many seconds before midnight."""
    await asyncio.sleep(until_tomorrow(harness.now()) - before_midnight)


async def test_nothing_is_paid_beyond_the_cap_and_the_run_goes_on_the_next_day(harness: Harness) -> None:
    await begin(harness, SHORT)
    cap(harness, 1)
    first, second = await harness.order(), await harness.order()
    for _ in range(2):
        delivery, consumer = await harness.until("generate")
        await harness.run(delivery, consumer)
    assert harness.vendor.paid == ["job1"]
    # Not even its intent is stored, and nothing is uploaded.
    (waiting,) = [run for run in (first, second) if "call-1-1" not in await harness.records(run)]
    assert len(harness.vendor.uploads) == 1
    records = await harness.records(waiting)
    assert [record["why"] for name, record in records.items() if name.startswith("waits-")] == ["spend_cap"]
    midnight = harness.now() + until_tomorrow(harness.now())
    await harness.drain()
    for run in (first, second):
        await harness.promise(run, "success")
    calls = await harness.ledger.calls(waiting)
    assert midnight < calls[0].at < midnight + 300
    assert await spent(harness) == 2


async def test_a_run_that_waits_for_the_next_day_in_vain_is_refunded(harness: Harness) -> None:
    await begin(harness, 6 * 3600.0)
    cap(harness, 1)
    runs = [await harness.order() for _ in range(2)]
    await harness.drain()
    ended = [await harness.verdict(run) for run in runs]
    assert sorted((verdict.status, verdict.code) for verdict in ended) == [("failed", Code.TIMEOUT), ("success", "")]
    assert harness.vendor.paid == ["job1"]


async def test_the_vendor_is_not_asked_while_the_calls_of_the_day_are_made(harness: Harness) -> None:
    cap(harness, 1)
    await harness.order()
    await harness.drain()
    asked = harness.injector.count("vendor.room")
    await harness.order()
    for _ in range(2):
        delivery, consumer = await harness.until("generate")
        await harness.run(delivery, consumer)
    assert harness.injector.count("vendor.room") <= asked + 1
    assert harness.pauses.left(("generate-runninghub-normal",)) > 0
    assert harness.out.lines.held(key_of(harness.vendor)) == 0


async def test_calls_that_were_not_accepted_cost_no_number(harness: Harness) -> None:
    cap(harness, 1)
    harness.vendor.creates.extend([FULL, FULL])
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert await spent(harness) == 1


async def test_a_call_with_an_unknown_outcome_costs_its_number(harness: Harness) -> None:
    await begin(harness, 6 * 3600.0)
    cap(harness, 1)
    harness.vendor.creates.append(LOST)
    lost = await harness.order()
    await harness.drain()
    await harness.promise(lost, "failed", Code.VENDOR_UNKNOWN)
    late = await harness.order()
    await harness.drain()
    await harness.promise(late, "failed", Code.TIMEOUT)


async def test_a_run_that_ends_before_its_call_costs_no_number(harness: Harness) -> None:
    cap(harness, 1)
    first = await harness.order()

    async def end(place: str, *, done: bool) -> None:
        if done and place.startswith("vendor.upload"):
            harness.injector.hook = None
            await harness.ledger.write(first, Verdict.at(), Verdict("cancelled", Code.CANCELLED))

    harness.injector.hook = end
    await harness.drain()
    second = await harness.order()
    await harness.drain()
    await harness.promise(second, "success")
    assert harness.vendor.paid == ["job1"]


async def test_while_the_store_does_not_answer_nothing_is_paid(harness: Harness) -> None:
    cap(harness, 9)
    harness.injector.strike("ledger.put_new spend/", *[raises(ObjectsDown("503"))] * 2)
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert harness.vendor.paid == []
    assert harness.out.lines.held(key_of(harness.vendor)) == 0
    await harness.drain()
    await harness.promise(run, "success")


async def test_without_a_cap_nothing_is_counted(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert await spent(harness) == 0


async def test_keys_permits_lines_and_calls_of_the_day_are_metrics(harness: Harness) -> None:
    harness.shares = {VENDOR: 2}
    harness.open_vendors()
    cap(harness, 1)
    sink = Sink()
    before = metrics.install(sink)
    try:
        runs = [await harness.order() for _ in range(2)]
        for _ in runs:
            delivery, consumer = await harness.until("generate")
            await harness.run(delivery, consumer)
        tell_vendors(harness.out.vendors, harness.out.lines, Pauses(lambda: 0.0), harness.now())
    finally:
        metrics.install(before)
    assert sink.levels == {
        (Metric.VENDOR_SPENT, ""): 1,
        (Metric.VENDOR_KEYS, "open"): 1,
        (Metric.VENDOR_KEYS, "paused"): 0,
        (Metric.VENDOR_KEYS, "draining"): 0,
        (Metric.VENDOR_PERMITS, "held"): 0,
        (Metric.VENDOR_PERMITS, "most"): 2,
        (Metric.VENDOR_WAITING, ""): 0,
    }
    assert sink.counted[Metric.VENDOR_CAPPED] == 1


async def test_usage_of_a_slot_is_counted_once_though_its_end_is_met_again(harness: Harness) -> None:
    harness.vendor.usage = Usage(coins=17, seconds=83)
    sink = Sink()
    before = metrics.install(sink)
    try:
        run = await harness.order()
        await harness.pass_by("collect")
        await harness.wake(run, "sweep")
        await harness.drain()
        accepted = await harness.ledger.accepted(run)
        assert accepted is not None
        # As a copy of the look would, whose process had frozen.
        await end_slot(run, 1, SlotEnd(good=True, n=1, usage=harness.vendor.usage), accepted, harness.ledger)
    finally:
        metrics.install(before)
    await harness.promise(run, "success")
    assert sink.counted[Metric.VENDOR_USAGE] == 17 + 83


class Sink:
    """Keeps gauges by their state, and sums of counters."""

    def __init__(self) -> None:
        self.levels: dict[tuple[Metric, str], float] = {}
        self.counted: Counter[Metric] = Counter()

    def count(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self.counted[metric] += int(value)

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None: ...

    def level(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self.levels[metric, labels.get("state", "")] = value
