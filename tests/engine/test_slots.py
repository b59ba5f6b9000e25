"""Runs with several paid calls at once: each slot has its own end, and the run is decided by all of them."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx
import msgspec
import pytest

from messages.bodies import Collect, Generate, Job, Stage, slot_of
from messages.codec import decode
from messages.codes import Code
from messages.keys import RunId
from recipes.model_pose12 import MODEL_POSE12
from recipes.recipe import Recipe
from services.errors import AuditDown, ObjectsDown, VendorDown
from services.objects.port import Result
from services.vendors.port import JobState
from tasks.ledger.records import Verdict
from tests.engine.fault_injector import dies, raises
from tests.engine.harness import Harness
from tests.engine.standins import Create, InstantVendor, Plan

KIND: Final = "model_pose12"
SOME: Final = msgspec.structs.replace(
    MODEL_POSE12, count=1, slots=lambda _: 4, enough=lambda _, slots: min(2, slots), last_call_s=600.0, expected_s=60.0
)
"""Four slots of a picture each, of which two are enough; the others are waited for until ten minutes have passed."""
ALL: Final = msgspec.structs.replace(SOME, enough=MODEL_POSE12.enough, last_call_s=0.0)
BAD: Final = Plan(end=JobState.FAILED)
BLOCKED: Final = Result(violation=True, suspect=False, label="Porn", score=99)


@pytest.fixture(params=["jobs", "at once"])
def sort(request: pytest.FixtureRequest) -> str:
    """Both sorts of vendor."""
    return str(request.param)


def opened(recipe: Recipe, sort: str = "jobs", seed: int = 1) -> Harness:
    harness = Harness(recipes={KIND: msgspec.structs.replace(recipe, synchronous=sort == "at once")}, seed=seed)
    if sort == "at once":
        harness.vendors[harness.vendor.name] = InstantVendor(harness.vendor, 1)
    return harness


@pytest.fixture
def harness() -> Harness:
    return opened(SOME)


async def slots(harness: Harness, run: RunId) -> dict[int, bool]:
    """Slot -> whether it ended well."""
    records = await harness.records(run)
    return {n: records[f"slot-{n}"]["good"] for n in range(1, 5) if f"slot-{n}" in records}


async def test_every_slot_makes_its_own_call_and_all_results_are_shown(sort: str) -> None:
    async with opened(ALL, sort) as harness:
        run = await harness.order()
        await harness.drain()
        verdict = await harness.promise(run, "success")
        assert len(harness.vendor.paid) == 4
        assert [item.target.rpartition("/")[2] for item in verdict.manifest] == [
            f"frame_{n:02d}.jpg" for n in range(1, 5)
        ]
        assert verdict.degraded == ()
        assert await slots(harness, run) == dict.fromkeys(range(1, 5), True)
        assert len(harness.sent("collect")) == 1


async def test_four_slots_take_as_long_as_one() -> None:
    took: list[float] = []
    for count in (1, 4):
        async with opened(msgspec.structs.replace(ALL, slots=lambda _, n=count: n)) as harness:
            begun = harness.now()
            run = await harness.order()
            await harness.drain()
            await harness.promise(run, "success")
            took.append(harness.now() - begun)
    assert took[1] < took[0] + 5


async def test_a_slot_that_fails_costs_its_picture_and_not_the_run(sort: str) -> None:
    async with opened(SOME, sort) as harness:
        if sort == "jobs":
            harness.vendor.plans.extend([Plan(), BAD])
        else:
            harness.vendor.creates.extend([Create(), Create(answer="refused")])
        run = await harness.order()
        await harness.drain()
        verdict = await harness.promise(run, "success")
        assert len(verdict.manifest) == 3
        assert verdict.degraded == ("fewer_results",)
        assert sorted((await slots(harness, run)).values()) == [False, True, True, True]
        assert len(await harness.dead_letters()) == 1


async def test_where_every_slot_is_needed_one_that_fails_fails_the_run_and_stops_the_others() -> None:
    async with opened(ALL) as harness:
        harness.vendor.plans.extend([BAD, Plan(looks=99), Plan(looks=99), Plan(looks=99)])
        run = await harness.order()
        await harness.drain()
        await harness.promise(run, "failed", Code.VENDOR_FAILED)
        assert [job.cancelled for job in harness.vendor.jobs.values()][1:] == [True] * 3
        assert await harness.outputs(run) == []


async def test_too_many_bad_slots_fail_the_run_before_the_rest_has_ended(harness: Harness) -> None:
    harness.vendor.plans.extend([BAD, BAD, BAD, Plan(looks=99)])
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert [job.cancelled for job in harness.vendor.jobs.values()][3]


async def test_a_straggler_is_waited_for_until_the_last_call_and_then_stopped(harness: Harness) -> None:
    begun = harness.now()
    harness.vendor.plans.extend([Plan(), Plan(), Plan(), Plan(looks=10_000)])
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert len(verdict.manifest) == 3
    assert 600 <= harness.now() - begun < 700
    assert [job.cancelled for job in harness.vendor.jobs.values()] == [False, False, False, True]


@pytest.mark.parametrize("seed", range(8))
async def test_a_last_call_as_late_as_can_be_leaves_time_to_collect(seed: int) -> None:
    late = msgspec.structs.replace(SOME, enough=lambda _, slots: min(3, slots), last_call_s=0.0)
    async with opened(late, seed=seed) as harness:
        harness.vendor.plans.extend([Plan(), Plan(), Plan(), Plan(looks=10_000)])
        run = await harness.order()
        await harness.drain()
        assert len((await harness.promise(run, "success")).manifest) == 3


async def test_a_call_whose_answer_is_lost_ends_its_slot_alone_and_is_never_repeated(sort: str) -> None:
    async with opened(SOME, sort) as harness:
        harness.vendor.shows = False
        harness.vendor.creates.extend([Create(), Create(answer="lost")])
        run = await harness.order()
        await harness.drain()
        verdict = await harness.promise(run, "success")
        assert len(verdict.manifest) == 3
        assert len(harness.vendor.paid) == 4
        assert "call-2-2" not in await harness.records(run)
        assert (await harness.records(run))["slot-2"]["code"] == Code.VENDOR_UNKNOWN


async def test_a_letter_that_a_known_job_has_outdated_lets_the_job_be_looked_at_again() -> None:
    async with opened(ALL) as harness:
        harness.vendor.creates.append(Create(answer="lost"))
        harness.vendor.plans.extend([Plan(looks=5)] * 4)
        run = await harness.order()
        letter, consumer = await harness.until("dead")
        known = await harness.records(run)
        slot = next(n for n in range(1, 5) if f"call-{n}-1-id" not in known)
        lost = next(job.id for job in harness.vendor.jobs.values() if f"/{slot}/1/" in job.webhook)
        await harness.wake(run, "webhook", job=Job(1, lost, slot))
        await harness.run(*await harness.until("wake"))
        await harness.run(letter, consumer)
        await harness.drain()
        await harness.promise(run, "success")


async def test_two_lost_calls_do_not_wait_for_each_other(harness: Harness) -> None:
    harness.vendor.shows = False
    harness.vendor.creates.extend([Create(answer="lost")] * 4)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert len(harness.vendor.paid) == 4


async def test_a_blocked_picture_counts_as_a_lost_slot(harness: Harness) -> None:
    harness.findings["frame_02.jpg"] = BLOCKED
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert [item.target.rpartition("/")[2] for item in verdict.manifest] == [f"frame_{n:02d}.jpg" for n in (1, 2, 3)]
    assert not any(item.source.endswith("frame_02.jpg") for item in verdict.manifest)
    assert verdict.degraded == ("fewer_results",)


async def test_a_blocked_picture_where_the_rest_is_not_enough_fails_the_run_though_a_slot_still_works(
    harness: Harness,
) -> None:
    harness.findings["frame_02.jpg"] = BLOCKED
    harness.vendor.plans.extend([Plan(), Plan(), BAD, Plan(looks=10_000)])
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert await harness.outputs(run) == []
    assert [job.cancelled for job in harness.vendor.jobs.values()][3]


async def test_an_audit_that_is_down_delays_the_run_and_brings_nothing_home_again(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("objects.audit .*frame", *[raises(AuditDown("away"))] * 12)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.seq for header in harness.sent("collect")} == {0}
    assert len(harness.sent("audit")) > 1


async def test_an_audit_that_stays_down_is_no_pass() -> None:
    async with opened(SOME) as harness:
        run = await harness.order()
        harness.injector.strike("objects.audit .*frame", *[raises(AuditDown("away"))] * 5_000)
        await harness.drain()
        await harness.promise(run, "failed", Code.TIMEOUT)
        assert await harness.outputs(run) == []


@pytest.mark.parametrize("place", ["slot-1$", "slot-4$", "staged$", "call-3-1$", "call-3-1-id$", "verdict$"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_that_dies_at_a_slots_record_costs_nothing(harness: Harness, place: str, when: str) -> None:
    run = await harness.order()
    harness.injector.strike(f"ledger.put_new .*/{place}", dies(), done=when == "after")
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.left == 0
    assert len(harness.vendor.paid) <= 4


@pytest.mark.parametrize(
    "lost", [f"{stage} {slot}" for stage in ("generate", "poll") for slot in (1, 3)] + ["collect 0"]
)
async def test_a_message_that_the_broker_loses_is_made_up_for_by_a_wake(lost: str) -> None:
    stage, _, slot = lost.partition(" ")
    async with opened(ALL) as harness:
        run = await harness.order()
        gone = False
        while harness.wire.open:
            delivery, consumer = await harness.take()
            message = decode(delivery.payload)
            if not gone and message.header.stage == stage and (slot_of(message.body) or 0) == int(slot):
                gone = True
                await harness.wire.lose(delivery, consumer)
            else:
                await harness.run(delivery, consumer)
        assert gone
        assert await harness.ledger.verdict(run) is None
        for _ in range(2):
            await harness.wake(run, "sweep", -1)
            await harness.drain()
        await harness.promise(run, "success")
        assert len(harness.vendor.paid) == 4


async def test_a_slot_that_was_not_sold_is_not_paid(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.say(run, Stage.GENERATE, Generate(5), kind=KIND)
    await harness.drain()
    assert len(harness.vendor.paid) == 4


async def test_a_collect_that_comes_before_the_run_is_decided_collects_nothing(harness: Harness) -> None:
    run = await harness.order()
    await harness.until("poll")
    await harness.say(run, Stage.COLLECT, Collect(), kind=KIND, seq=7)
    delivery, consumer = await harness.until("collect", 7)
    await harness.run(delivery, consumer)
    assert "staged" not in await harness.records(run)


async def test_files_whose_host_stays_away_cost_their_slot_at_the_last_call(harness: Harness) -> None:
    begun = harness.now()
    run = await harness.order()
    harness.injector.strike(r"files\.get /job2/1\.jpg", *[raises(httpx.ReadError("gone"))] * 50)
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert len(verdict.manifest) == 3
    assert 600 <= harness.now() - begun < 700


async def test_a_good_slot_that_shows_its_results_no_more_is_done_without_at_the_last_call(harness: Harness) -> None:
    begun = harness.now()
    run = await harness.order()
    await harness.pass_by("collect")
    harness.vendor.jobs["job3"].plan.files = 0
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert len(verdict.manifest) == 3
    assert 600 <= harness.now() - begun < 700


async def test_a_good_slot_whose_results_are_needed_is_waited_for_until_the_deadline() -> None:
    async with opened(ALL) as harness:
        run = await harness.order()
        await harness.pass_by("collect")
        harness.vendor.jobs["job3"].plan.files = 0
        await harness.drain()
        await harness.promise(run, "failed", Code.TIMEOUT)


async def test_a_ledger_that_is_away_at_a_slots_end_delays_it(sort: str) -> None:
    async with opened(SOME, sort) as harness:
        harness.injector.strike(r"ledger\.put_new .*/slot-2", *[raises(ObjectsDown("503"))] * 20)
        run = await harness.order()
        await harness.drain()
        await harness.promise(run, "success")
        assert len(harness.vendor.paid) == 4


async def test_a_cancel_stops_every_slot(harness: Harness) -> None:
    harness.vendor.plans.extend([Plan(looks=99)] * 4)
    run = await harness.order()
    await harness.pass_by("poll", 2)
    assert await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", "cancelled"))
    await harness.wake(run)
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert all(job.cancelled for job in harness.vendor.jobs.values())


async def test_a_vendor_that_is_away_for_one_slot_stops_no_other_and_not_the_collect(harness: Harness) -> None:
    harness.vendor.plans.extend([Plan(), Plan(), Plan(), Plan(looks=10_000)])
    run = await harness.order()
    while "slot-3" not in await harness.records(run):
        await harness.step()
    while harness.wire.open:
        delivery, consumer = await harness.take()
        await harness.wire.lose(delivery, consumer)
    harness.injector.strike("vendor.query job4", *[raises(VendorDown("HTTP 500"))] * 500)
    begun = harness.now()
    await harness.wake(run, "sweep", -1)
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert len(verdict.manifest) == 3
    assert harness.now() - begun < 60


async def test_a_wake_that_gives_up_several_slots_leaves_a_letter_of_each(harness: Harness) -> None:
    harness.vendor.shows = False
    harness.vendor.creates.extend([Create(answer="lost")] * 4)
    run = await harness.order()
    while len([name for name in await harness.records(run) if name.startswith("call-")]) < 4:
        await harness.step()
    while harness.wire.open:
        delivery, consumer = await harness.take()
        await harness.wire.lose(delivery, consumer)
    await asyncio.sleep(600)
    await harness.wake(run, "sweep", -1)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert len(await harness.dead_letters()) == 4
