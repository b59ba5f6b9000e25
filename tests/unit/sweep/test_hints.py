"""A webhook's hint: it recovers a paid call whose answer was lost, and has no other effect."""

from __future__ import annotations

import asyncio

import pytest

from messages.bodies import Job
from messages.codes import Code
from recipes.model_pose12 import MODEL_POSE12
from services.errors import VendorDown
from services.repeat import TRIES
from services.vendors.port import JobState
from tasks.ledger.records import CallEnd
from tests.engine.fault_injector import raises
from tests.engine.standins import Create, Plan
from tests.unit.sweep.harness import BASE_URL, SweepHarness

LOST = Create(accepted=True, answer="lost")
CUT = Create(accepted=False, answer="lost")
DONE = Plan(looks=0)


async def test_a_lost_create_is_recovered_with_one_paid_call(harness: SweepHarness) -> None:
    harness.vendor.creates.append(LOST)
    harness.vendor.plans.append(DONE)
    run = await harness.order()
    await harness.past("generate")

    assert await harness.webhook(run, "job1") == 200
    await harness.drain()

    await harness.promise(run, "success")
    assert (await harness.records(run))["call-1-1-id"] == {"job": "job1"}
    assert harness.vendor.paid == ["job1"]
    assert harness.injector.count("vendor.create") == 1


async def test_without_it_that_run_fails(harness: SweepHarness) -> None:
    harness.vendor.creates.append(LOST)
    harness.vendor.plans.append(DONE)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)


async def test_a_lost_create_whose_job_failed_fails_for_that(harness: SweepHarness) -> None:
    harness.vendor.creates.append(LOST)
    harness.vendor.plans.append(Plan(looks=0, end=JobState.FAILED, code=Code.CONTENT_VIOLATION))
    run = await harness.order()
    await harness.past("generate")
    await harness.webhook(run, "job1")
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)


async def test_a_hint_before_the_creates_own_answer_is_the_same_id(harness: SweepHarness) -> None:
    harness.vendor.plans.append(DONE)
    run = await harness.order()

    async def call() -> None:
        assert await harness.webhook(run, "job1") == 200

    harness.injector.strike("^vendor.create", call, done=True)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]


async def test_a_hint_comes_sooner_than_the_next_poll(harness: SweepHarness) -> None:
    harness.vendor.plans.append(DONE)
    run = await harness.order()
    await harness.past("generate")
    before = harness.now()
    await harness.webhook(run, "job1")
    await harness.pass_by("collect")
    assert harness.now() - before < 1
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.heard(run) == ["success"]


async def test_a_hint_while_the_results_are_brought_home_starts_no_second_collect(harness: SweepHarness) -> None:
    harness.vendor.plans.append(DONE)
    run = await harness.order()

    async def call() -> None:
        assert await harness.webhook(run, "job1") == 200
        # Another process takes it, while this one downloads.
        await harness.engine.run_one(*await harness.take())

    harness.injector.strike("^files.get", call)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.left == 0
    assert len(harness.sent("collect")) == 1
    assert harness.heard(run) == ["success"]


async def test_a_hint_after_the_end_says_nothing_again(harness: SweepHarness) -> None:
    harness.vendor.plans.append(DONE)
    run = await harness.order()
    await harness.drain()
    await harness.webhook(run, "job1")
    await harness.drain()
    assert harness.heard(run) == ["success"]


@pytest.mark.parametrize("job", ["1000000000000000001", "job2"], ids=["forged", "of nobody"])
async def test_an_id_that_the_vendor_does_not_know_changes_nothing(harness: SweepHarness, job: str) -> None:
    harness.vendor.creates.append(CUT)
    run = await harness.order()
    await harness.past("generate")
    before = await harness.records(run)
    assert await harness.webhook(run, job) == 200
    await harness.step()
    assert await harness.records(run) == before
    assert await harness.dead_letters() == []
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)


async def test_another_users_job_is_not_bound_to_a_call_whose_answer_was_lost(harness: SweepHarness) -> None:
    """The vendor knows the job, and the path is right: only the job's own purpose shows the difference."""
    harness.vendor.creates.append(Create())
    harness.vendor.plans.append(DONE)
    other = await harness.order(user="u2")
    await harness.past("generate")
    harness.vendor.creates.append(CUT)
    run = await harness.order()
    await harness.past("generate")
    assert await harness.webhook(run, "job1") == 200
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    await harness.promise(other, "success")
    assert not [name for name in await harness.records(run) if name.endswith("-id")]


async def test_a_vendor_that_shows_nothing_makes_a_hint_a_wake_only(harness: SweepHarness) -> None:
    harness.vendor.shows = False
    harness.vendor.creates.append(LOST)
    harness.vendor.plans.append(DONE)
    run = await harness.order()
    await harness.past("generate")
    await harness.webhook(run, "job1")
    await harness.step()
    assert not [name for name in await harness.records(run) if name.endswith("-id")]
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)


async def test_while_the_vendor_shows_it_not_yet_the_hint_waits(harness: SweepHarness) -> None:
    harness.vendor.creates.append(LOST)
    harness.vendor.plans.append(DONE)
    run = await harness.order()
    await harness.past("generate")
    harness.injector.strike("vendor.made_for job1", *[raises(VendorDown("webhook event not exists"))] * 2)
    await harness.webhook(run, "job1")
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_hint_with_another_id_than_the_stored_one_changes_nothing(harness: SweepHarness) -> None:
    run = await harness.order()
    other = await harness.order()
    await harness.past("generate")
    await harness.past("generate")
    before = await harness.records(run)
    looks = harness.injector.count("vendor.query")
    await harness.webhook(run, "job2")
    await harness.step()
    assert await harness.records(run) == before
    assert harness.injector.count("vendor.query") == looks
    await harness.drain()
    await harness.promise(run, "success")
    await harness.promise(other, "success")


async def test_a_hint_for_a_paid_call_that_was_never_begun_is_ignored(harness: SweepHarness) -> None:
    run = await harness.order()
    await harness.webhook(run, "job1")
    await harness.pass_by("wake")
    await harness.webhook(run, "job1", n=2)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]
    assert "call-1-2-id" not in await harness.records(run)


async def test_a_hint_for_a_call_that_was_not_accepted_is_ignored(harness: SweepHarness) -> None:
    harness.vendor.creates.append(CUT)
    run = await harness.order()
    await harness.past("generate")
    await harness.ledger.write(run, CallEnd.at(1, 1), CallEnd("not_accepted", Code.BUSY))
    asked = harness.injector.count("vendor.query")
    await harness.wake(run, "webhook", job=Job(1, "job1"))
    await harness.step()
    assert harness.injector.count("vendor.query") == asked
    assert "call-1-1-id" not in await harness.records(run)


async def test_while_the_vendor_is_away_the_hint_waits(harness: SweepHarness) -> None:
    harness.vendor.creates.append(LOST)
    harness.vendor.plans.append(DONE)
    run = await harness.order()
    await harness.past("generate")
    harness.injector.strike("vendor.query job1", *[raises(VendorDown("502"))] * 3 * TRIES)
    await harness.webhook(run, "job1")
    await harness.drain()
    await harness.promise(run, "success")


async def test_once_the_run_is_over_a_vendor_that_is_away_is_not_waited_for(harness: SweepHarness) -> None:
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.past("generate")
    await harness.lose_everything()
    await asyncio.sleep(MODEL_POSE12.deadline_s)
    harness.injector.strike("vendor.query job1", *[raises(VendorDown("502"))] * 9)
    await harness.webhook(run, "job1")
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert harness.injector.left == 9 - TRIES


async def test_the_vendor_is_told_the_paid_calls_own_path(
    harness: SweepHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[str] = []
    create = harness.vendor.create

    async def spy(request: object, *, timeout: float) -> str:  # noqa: ASYNC109 - the port's word
        reported.append(request.webhook)  # type: ignore[attr-defined] # a JobRequest
        return await create(request, timeout=timeout)  # type: ignore[arg-type] # as it came

    monkeypatch.setattr(harness.vendor, "create", spy)
    run = await harness.order()
    await harness.drain()
    assert reported == [harness.webhooks.url("runninghub", run, 1, 1)]
    assert reported[0].startswith(f"{BASE_URL}/webhook/runninghub/u1/{run.task}/0/0/1/")
