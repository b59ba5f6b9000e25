"""Deadline and cancel: they write their verdict directly, at whatever stage they meet the run."""

from __future__ import annotations

import asyncio

import pytest

from messages.codes import Code
from messages.keys import RunId
from services.errors import VendorDown
from tasks.ledger.records import Verdict
from tests.engine.fate import calls, raises
from tests.engine.standins import Plan
from tests.engine.world import World

STAGES = ("clean", "generate", "poll", "collect")


async def cancel(world: World, run: RunId) -> None:
    """What the API does: the record, then a wake."""
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.wake(run, "cancel")


@pytest.mark.parametrize("stage", STAGES)
async def test_a_deadline_that_passes_before_a_stage_fails_the_run_and_cancels_the_vendor(
    world: World, stage: str
) -> None:
    run = await world.order()
    delivery, consumer = await world.until(stage)
    await asyncio.sleep(1801)
    await world.run(delivery, consumer)
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert world.backend.heard[0].message == "生成超时"
    assert [job.cancelled for job in world.vendor.jobs.values()] == [True] * (stage in {"poll", "collect"})
    assert await world.staged(run) == []
    assert await world.desk() == []


async def test_a_deadline_that_passes_between_the_marked_polls_is_seen(world: World) -> None:
    world.vendor.plans.append(Plan(looks=10**6))
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert world.vendor.jobs["job1"].cancelled
    assert world.now() == pytest.approx(1_750_000_000 + 1800, abs=30)


async def test_every_delay_is_cut_to_the_deadline(world: World) -> None:
    world.vendor.plans.append(Plan(looks=10**6))
    await world.order()
    await world.drain()
    for sent in world.wire.sent:
        if sent.header.deadline:
            assert sent.header.not_before <= sent.header.deadline


@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancel_verdict_is_met_by_the_next_message(world: World, stage: str) -> None:
    run = await world.order()
    delivery, consumer = await world.until(stage)
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.run(delivery, consumer)
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)
    assert world.backend.heard[0].message == "已取消"
    assert [job.cancelled for job in world.vendor.jobs.values()] == [True] * (stage in {"poll", "collect"})
    assert await world.staged(run) == []


@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancels_wake_ends_the_run_at_once(world: World, stage: str) -> None:
    run = await world.order()
    delivery, consumer = await world.until(stage)
    await cancel(world, run)
    before = world.now()
    await world.step()
    await world.step()
    assert world.heard(run) == ["failed"]
    assert world.now() - before < 1
    await consumer.release(delivery)
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)
    assert world.heard(run) == ["failed"]
    assert all(job.cancelled for job in world.vendor.jobs.values())


@pytest.mark.parametrize(
    "place",
    [
        "objects.process",
        "vendor.upload",
        "ledger.put_new .*/call-1-1$",
        "vendor.create",
        "ledger.put_new .*/call-1-1-id",
        "broker.publish poll-0",
        "vendor.query",
        "files.get .*/5",
        "objects.audit .*frame_03",
    ],
)
async def test_a_cancel_in_the_middle_of_a_stage_stands_and_stops_the_job(world: World, place: str) -> None:
    run = await world.order()
    world.fate.strike(place, calls(lambda: cancel(world, run)), done=True)
    await world.drain()
    assert world.fate.left == 0
    await world.promise(run, "cancelled", Code.CANCELLED)
    assert await world.outputs(run) == []
    assert all(job.cancelled for job in world.vendor.jobs.values())


async def test_a_cancel_after_the_verdict_changes_nothing(world: World) -> None:
    run = await world.order()
    world.fate.strike("ledger.put_new .*/verdict$", calls(lambda: cancel(world, run)), done=True)
    await world.drain()
    await world.promise(run, "success")


async def test_a_refund_does_not_wait_for_a_vendor_that_is_away(world: World) -> None:
    run = await world.order()
    await world.pass_by("poll")
    world.fate.strike("vendor.cancel", *[raises(VendorDown("away"))] * 4)
    await cancel(world, run)
    await world.step()
    assert world.state(run) == ("failed", 1, 1)
    assert not world.vendor.jobs["job1"].cancelled
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)
    assert world.vendor.jobs["job1"].cancelled
    assert world.heard(run) == ["failed"]
