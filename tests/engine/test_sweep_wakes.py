"""The sweep's own wakes: acked before their effects, stale after three minutes, and tried again until then."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from consumers.engine.engine import STALE_SWEEP
from messages.bodies import Job
from messages.codes import Code
from recipes.model_pose12 import MODEL_POSE12
from services.errors import ObjectsDown, VendorDown
from tasks.ledger.ledger import Ledger
from tests.engine.fault_injector import dies, raises
from tests.engine.harness import Harness
from tests.engine.test_wakes import sweep_until_empty


async def test_a_sweeps_wake_is_acked_before_its_effects(harness: Harness) -> None:
    run = await harness.order()
    lost, consumer = await harness.until("generate")
    await consumer.ack(lost)
    harness.injector.strike("broker.publish generate", dies())
    await harness.wake(run, "sweep")
    await harness.drain()
    assert [header.seq for header in harness.sent("generate")] == [0]
    await sweep_until_empty(harness, run)
    await harness.promise(run, "success")


async def test_a_sweeps_wake_older_than_three_minutes_is_acked_unread(harness: Harness) -> None:
    run = await harness.order()
    lost, consumer = await harness.until("generate")
    await consumer.ack(lost)
    await harness.wake(run, "sweep")
    await asyncio.sleep(STALE_SWEEP + 1)
    before = harness.injector.count("ledger.get")
    await harness.drain()
    assert harness.injector.count("ledger.get") == before
    await harness.wake(run, "webhook", job=Job(1, "x"))
    await asyncio.sleep(STALE_SWEEP + 1)
    await harness.drain()
    assert harness.injector.count("ledger.get") > before


async def test_a_young_wake_of_a_sweep_is_read_by_a_machine_whose_clock_is_ahead(harness: Harness) -> None:
    """A consumer that has no answer of the store yet would reject every sweep's wake, and so never get one."""
    run = await harness.order("basic_clean")
    lost, consumer = await harness.until("clean")
    await consumer.ack(lost)
    await harness.wake(run, "sweep")
    ahead = Ledger(harness.ledger.objects, clock=lambda: harness.now() + STALE_SWEEP + 20, nonce=harness.ledger.nonce)
    harness.out = dataclasses.replace(harness.out, ledger=ahead)
    harness.engine = harness.new_engine()
    await harness.drain()
    await harness.promise(run, "success")


ODD = (ObjectsDown("away"), VendorDown("away"), KeyError("our own mistake"))


def sweeps_fail(harness: Harness, error: Exception, times: int) -> None:
    if isinstance(error, ObjectsDown):
        # One that fails at once is made twice more before it counts.
        harness.injector.strike("ledger.get .*/accepted", *[raises(error)] * 3 * times)
    else:
        harness.injector.strike("vendor.query", *[raises(error)] * times)


@pytest.mark.parametrize("error", ODD)
async def test_a_sweeps_wake_that_fails_half_way_comes_again_at_once(harness: Harness, error: Exception) -> None:
    run = await harness.order()
    lost, consumer = await harness.until("poll")
    await consumer.ack(lost)
    sweeps_fail(harness, error, 2)
    before = harness.now()
    await harness.wake(run, "sweep")
    await harness.drain()
    assert harness.now() - before < 60
    assert await harness.dead_letters() == []
    # The vendor's job was still at work at that look.
    await sweep_until_empty(harness, run, 1)
    await harness.promise(run, "success")


@pytest.mark.parametrize(
    ("place", "error", "times"),
    [
        ("broker.publish notify", ObjectsDown("away"), 1),
        ("broker.publish notify", KeyError("our own mistake"), 1),
        ("ledger.put_new .*/verdict", ObjectsDown("away"), 3),
    ],
)
async def test_a_sweeps_wake_whose_effect_fails_comes_again_at_once(
    harness: Harness, place: str, error: Exception, times: int
) -> None:
    run = await harness.order()
    lost, consumer = await harness.until("poll")
    await consumer.ack(lost)
    await asyncio.sleep(MODEL_POSE12.deadline_s)
    harness.injector.strike(place, *[raises(error)] * times)
    before = harness.now()
    await harness.wake(run, "sweep")
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert harness.now() - before < 60


@pytest.mark.parametrize("error", ODD)
async def test_the_copies_of_a_sweeps_wake_end_with_its_time(harness: Harness, error: Exception) -> None:
    """An outage of hours must not gather a chain of wakes for each sweep that came by."""
    run = await harness.order()
    lost, consumer = await harness.until("poll")
    await consumer.ack(lost)
    sweeps_fail(harness, error, 10_000)
    before = harness.now()
    await harness.wake(run, "sweep")
    await harness.drain()
    assert harness.now() - before <= STALE_SWEEP
    assert len({header.created for header in harness.sent("wake")}) == 1
    assert await harness.dead_letters() == []
    harness.injector.clear()
    await sweep_until_empty(harness, run)
    await harness.promise(run, "success")
