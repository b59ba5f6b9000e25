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
from tests.engine.fate import dies, raises
from tests.engine.test_wakes import sweep_until_empty
from tests.engine.world import World


async def test_a_sweeps_wake_is_acked_before_its_effects(world: World) -> None:
    run = await world.order()
    lost, consumer = await world.until("generate")
    await consumer.ack(lost)
    world.fate.strike("broker.publish generate", dies())
    await world.wake(run, "sweep")
    await world.drain()
    assert [header.seq for header in world.sent("generate")] == [0]
    await sweep_until_empty(world, run)
    await world.promise(run, "success")


async def test_a_sweeps_wake_older_than_three_minutes_is_acked_unread(world: World) -> None:
    run = await world.order()
    lost, consumer = await world.until("generate")
    await consumer.ack(lost)
    await world.wake(run, "sweep")
    await asyncio.sleep(STALE_SWEEP + 1)
    before = world.fate.count("ledger.get")
    await world.drain()
    assert world.fate.count("ledger.get") == before
    await world.wake(run, "webhook", job=Job(1, "x"))
    await asyncio.sleep(STALE_SWEEP + 1)
    await world.drain()
    assert world.fate.count("ledger.get") > before


async def test_a_young_wake_of_a_sweep_is_read_by_a_machine_whose_clock_is_ahead(world: World) -> None:
    """A consumer that has heard nothing of the store yet would turn every sweep away, and so never hear of it."""
    run = await world.order("basic_clean")
    lost, consumer = await world.until("clean")
    await consumer.ack(lost)
    await world.wake(run, "sweep")
    ahead = Ledger(world.ledger.objects, clock=lambda: world.now() + STALE_SWEEP + 20, nonce=world.ledger.nonce)
    world.out = dataclasses.replace(world.out, ledger=ahead)
    world.engine = world.new_engine()
    await world.drain()
    await world.promise(run, "success")


ODD = (ObjectsDown("away"), VendorDown("away"), KeyError("our own mistake"))


def sweeps_fail(world: World, error: Exception, times: int) -> None:
    place = "ledger.get .*/accepted" if isinstance(error, ObjectsDown) else "vendor.query"
    world.fate.strike(place, *[raises(error)] * times)


@pytest.mark.parametrize("error", ODD)
async def test_a_sweeps_wake_that_fails_half_way_comes_again_at_once(world: World, error: Exception) -> None:
    run = await world.order()
    lost, consumer = await world.until("poll")
    await consumer.ack(lost)
    sweeps_fail(world, error, 2)
    before = world.now()
    await world.wake(run, "sweep")
    await world.drain()
    assert world.now() - before < 60
    assert await world.desk() == []
    # The vendor's job was still at work at that look.
    await sweep_until_empty(world, run, 1)
    await world.promise(run, "success")


@pytest.mark.parametrize("place", ["broker.publish notify", "ledger.put_new .*/verdict"])
async def test_a_sweeps_wake_whose_effect_fails_comes_again_at_once(world: World, place: str) -> None:
    run = await world.order()
    lost, consumer = await world.until("poll")
    await consumer.ack(lost)
    await asyncio.sleep(MODEL_POSE12.deadline_s)
    world.fate.strike(place, raises(ObjectsDown("away")))
    before = world.now()
    await world.wake(run, "sweep")
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert world.now() - before < 60


@pytest.mark.parametrize("error", ODD)
async def test_the_copies_of_a_sweeps_wake_end_with_its_time(world: World, error: Exception) -> None:
    """An outage of hours must not gather a chain of wakes for each sweep that came by."""
    run = await world.order()
    lost, consumer = await world.until("poll")
    await consumer.ack(lost)
    sweeps_fail(world, error, 10_000)
    before = world.now()
    await world.wake(run, "sweep")
    await world.drain()
    assert world.now() - before <= STALE_SWEEP
    assert len({header.created for header in world.sent("wake")}) == 1
    assert await world.desk() == []
    world.fate.clear()
    await sweep_until_empty(world, run)
    await world.promise(run, "success")
