"""What the records of a run say for people: why it waited, what the backend was sent, what statistics need."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from messages.keys import record_key
from services.errors import ObjectsDown
from services.objects.walk import walk
from tasks.ending.finish import finish
from tasks.ledger.cache import FinalCache
from tasks.view import read_view
from tests.engine.fate import raises
from tests.engine.world import World


async def entries(world: World) -> AsyncIterator[str]:
    async for item in walk(world.ledger.objects, "done/"):
        yield item.key


async def done_keys(world: World) -> list[list[str]]:
    return [key.split("/")[5:] async for key in entries(world)]


async def test_a_full_vendor_is_why_a_run_waits(world: World) -> None:
    world.vendor.full = 9
    run = await world.order()
    await world.pass_by("generate", 3)
    waiting = await read_view(run, world.ledger)
    assert waiting.waits is not None
    assert waiting.waits.why == "vendor_full"
    await world.drain()
    await world.promise(run, "success")
    waits = [name for name in await world.records(run) if name.startswith("waits-generate.1-")]
    assert 2 <= len(waits) <= 5
    assert (await read_view(run, world.ledger)).waits is None


async def test_a_run_that_goes_well_waits_for_nothing(world: World) -> None:
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    assert not [name for name in await world.records(run) if name.startswith("waits-")]


async def test_a_wait_that_cannot_be_recorded_changes_nothing(world: World) -> None:
    world.vendor.full = 3
    world.fate.strike("ledger.put_new .*/waits-", *[raises(ObjectsDown("away"))] * 9)
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")


async def test_a_delivered_run_is_entered_with_what_statistics_need(world: World) -> None:
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    ((step, kind, state, code, _, took, cost),) = await done_keys(world)
    assert (step, kind, state, code, cost) == ("0-0", "model_pose12", "success", "-", "-")
    assert int(took) > 60


async def test_a_run_is_entered_once_however_often_it_is_delivered(world: World) -> None:
    run = await world.order()
    world.fate.strike("ledger.put_new .*/delivered", *[raises(ObjectsDown("away"))] * 3)
    await world.drain()
    await world.promise(run, "success")
    await world.wake(run, "redeliver")
    await world.drain()
    assert len(await done_keys(world)) == 1


@pytest.mark.parametrize("name", ["accepted", "begun-clean-0"])
async def test_a_record_that_cannot_be_read_costs_the_entry_and_never_the_refund(world: World, name: str) -> None:
    run = await world.order()
    await world.pass_by("generate")
    await world.drain()
    await world.promise(run, "success")
    assert len(await done_keys(world)) == 1
    await world.ledger.objects.delete([record_key(run, "delivered"), *[k async for k in entries(world)]])
    await world.ledger.objects.put(record_key(run, name), b"?")
    world.ledger.cache = FinalCache()
    assert await finish(run, world.out) is None
    assert "delivered" in {entry.name for entry in (await read_view(run, world.ledger)).timeline}
    assert await done_keys(world) == []
