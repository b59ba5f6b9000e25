"""Records of a run for people: the reasons of its waits, the callback as it was sent, the figures of statistics."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from messages.keys import record_key
from services.errors import ObjectsDown
from services.objects.walk import walk
from tasks.ending.finish import finish
from tasks.ledger.cache import FinalCache
from tasks.view import read_view
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness


async def entries(harness: Harness) -> AsyncIterator[str]:
    async for item in walk(harness.ledger.objects, "done/", harness.out.rng):
        yield item.key


async def done_keys(harness: Harness) -> list[list[str]]:
    return [key.split("/")[5:] async for key in entries(harness)]


async def test_a_full_vendor_is_why_a_run_waits(harness: Harness) -> None:
    harness.vendor.full = 9
    run = await harness.order()
    await harness.pass_by("generate", 3)
    waiting = await read_view(run, harness.ledger)
    assert waiting.waits is not None
    assert waiting.waits.why == "vendor_full"
    await harness.drain()
    await harness.promise(run, "success")
    waits = [name for name in await harness.records(run) if name.startswith("waits-generate.1-")]
    assert 2 <= len(waits) <= 5
    assert (await read_view(run, harness.ledger)).waits is None


async def test_a_run_that_goes_well_waits_for_nothing(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert not [name for name in await harness.records(run) if name.startswith("waits-")]


async def test_a_wait_that_cannot_be_recorded_changes_nothing(harness: Harness) -> None:
    harness.vendor.full = 3
    harness.injector.strike("ledger.put_new .*/waits-", *[raises(ObjectsDown("away"))] * 9)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_delivered_run_is_entered_with_what_statistics_need(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    ((step, kind, state, code, _, took, cost),) = await done_keys(harness)
    assert (step, kind, state, code, cost) == ("0-0", "model_pose12", "success", "-", "-")
    assert int(took) > 60


async def test_a_run_is_entered_once_however_often_it_is_delivered(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/delivered", *[raises(ObjectsDown("away"))] * 3)
    await harness.drain()
    await harness.promise(run, "success")
    await harness.wake(run, "redeliver")
    await harness.drain()
    assert len(await done_keys(harness)) == 1


@pytest.mark.parametrize("name", ["accepted", "begun-clean-0"])
async def test_a_record_that_cannot_be_read_costs_the_entry_and_never_the_refund(harness: Harness, name: str) -> None:
    run = await harness.order()
    await harness.pass_by("generate")
    await harness.drain()
    await harness.promise(run, "success")
    assert len(await done_keys(harness)) == 1
    await harness.ledger.objects.delete([record_key(run, "delivered"), *[k async for k in entries(harness)]])
    await harness.ledger.objects.put(record_key(run, name), b"?")
    harness.ledger.cache = FinalCache()
    assert await finish(run, harness.out) is None
    assert "delivered" in {entry.name for entry in (await read_view(run, harness.ledger)).timeline}
    assert await done_keys(harness) == []
