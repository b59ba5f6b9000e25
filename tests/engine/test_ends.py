"""Deadline and cancel: they write their verdict directly, at whatever stage they meet the run."""

from __future__ import annotations

import asyncio

import pytest

from messages.codes import Code
from messages.keys import RunId
from services.errors import VendorDown
from services.vendors.port import JobState
from tasks.ending.finish import LEFT_TO_WRITER_S
from tasks.ledger.records import Verdict
from tasks.wakes import WEBHOOK
from tests.engine.fault_injector import calls, dies, raises
from tests.engine.harness import Harness
from tests.engine.standins import Plan

STAGES = ("clean", "generate", "poll", "collect")


async def cancel(harness: Harness, run: RunId) -> None:
    """Cancel as the API does: the record, then a wake."""
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.wake(run, "cancel")


@pytest.mark.parametrize("stage", STAGES)
async def test_a_deadline_that_passes_before_a_stage_fails_the_run_and_cancels_the_vendor(
    harness: Harness, stage: str
) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    await asyncio.sleep(1801)
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert harness.backend.heard[0].message == "生成超时"
    assert [job.cancelled for job in harness.vendor.jobs.values()] == [stage == "poll"] * (stage in {"poll", "collect"})
    assert await harness.staged(run) == []
    assert await harness.dead_letters() == []


async def test_a_deadline_that_passes_between_the_marked_polls_is_seen(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10**6))
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert harness.vendor.jobs["job1"].cancelled
    assert harness.now() == pytest.approx(1_750_000_000 + 1800, abs=30)


async def test_every_delay_is_cut_to_the_deadline(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10**6))
    await harness.order()
    await harness.drain()
    for sent in harness.wire.sent:
        if sent.header.deadline:
            assert sent.header.not_before <= sent.header.deadline


@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancel_verdict_is_met_by_the_next_message(harness: Harness, stage: str) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert harness.backend.heard[0].message == "已取消"
    assert [job.cancelled for job in harness.vendor.jobs.values()] == [stage == "poll"] * (stage in {"poll", "collect"})
    assert await harness.staged(run) == []


@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancels_wake_ends_the_run_at_once(harness: Harness, stage: str) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    await cancel(harness, run)
    before = harness.now()
    await harness.step()
    await harness.step()
    assert harness.heard(run) == ["failed"]
    assert harness.now() - before < 1
    await consumer.release(delivery)
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert harness.heard(run) == ["failed"]
    assert [job.cancelled for job in harness.vendor.jobs.values()] == [stage == "poll"] * (stage in {"poll", "collect"})


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
async def test_a_cancel_in_the_middle_of_a_stage_stands_and_stops_the_job(harness: Harness, place: str) -> None:
    run = await harness.order()
    harness.injector.strike(place, calls(lambda: cancel(harness, run)), done=True)
    await harness.drain()
    assert harness.injector.left == 0
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert await harness.outputs(run) == []
    # A job that has ended well is not stopped.
    ended = "slot-1" in await harness.records(run)
    assert all(job.cancelled != ended for job in harness.vendor.jobs.values())


async def test_a_cancel_after_the_verdict_changes_nothing(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/verdict$", calls(lambda: cancel(harness, run)), done=True)
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_refund_does_not_wait_for_a_vendor_that_is_away(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("poll")
    harness.injector.strike("vendor.cancel", *[raises(VendorDown("away"))] * 4)
    await cancel(harness, run)
    await harness.run(*await harness.until("notify"))
    assert harness.state(run) == ("failed", 1, 1)
    assert not harness.vendor.jobs["job1"].cancelled
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert harness.vendor.jobs["job1"].cancelled
    assert harness.heard(run) == ["failed"]


async def test_two_letters_about_one_job_call_back_once(harness: Harness) -> None:
    """A poll and a webhook's wake see the same job fail; the second letter meets a verdict that is being delivered."""
    harness.vendor.plans.append(Plan(looks=1, end=JobState.FAILED))
    run = await harness.order()
    poll = await harness.until("poll", 1)
    await harness.wake(run, WEBHOOK)
    first = await harness.until("dead")
    await harness.run(*poll)
    harness.injector.strike("^backend.deliver", calls(harness.step))
    await harness.run(*first)
    assert harness.injector.left == 0
    assert [note.stage for note in harness.sent("notify")] == ["notify"]
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert harness.heard(run) == ["failed"]


async def test_a_webhook_leaves_a_verdict_to_its_writer(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(end=JobState.FAILED))
    run = await harness.order()

    async def hint() -> None:
        await harness.wake(run, WEBHOOK)
        await harness.step()

    harness.injector.strike("^backend.deliver", hint)
    await harness.drain()
    (note,) = harness.sent("notify")
    assert note.not_before >= LEFT_TO_WRITER_S * 1000
    assert harness.heard(run) == ["failed"]


@pytest.mark.parametrize("known", [True, False], ids=["holder known to be dead", "holder unknown"])
@pytest.mark.parametrize("end", [JobState.FAILED, JobState.SUCCESS])
async def test_a_verdict_whose_writer_died_is_delivered_within_seconds(
    harness: Harness, end: JobState, *, known: bool
) -> None:
    harness.wire.knows_dead_holders = known
    harness.vendor.plans.append(Plan(end=end))
    run = await harness.order()
    died: list[float] = []

    async def die() -> None:
        died.append(harness.now())
        await dies()()

    harness.injector.strike("ledger.put_new .*/verdict$", die, done=True)
    while not harness.heard(run):
        await harness.step()
    assert harness.now() - died[0] <= (1.0 if known else 1.0 + 1.2 * LEFT_TO_WRITER_S)
    await harness.drain()
    assert len(harness.heard(run)) == 1
