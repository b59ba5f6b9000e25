"""A webhook's hint: it recovers a paid call whose answer was lost, and nothing else comes of it."""

from __future__ import annotations

import asyncio

import pytest

from messages.bodies import Job
from messages.codes import Code
from recipes.model_pose12 import MODEL_POSE12
from services.errors import VendorDown
from services.vendors.port import JobState
from tasks.ledger.records import CallEnd
from tests.engine.fate import raises
from tests.engine.standins import Create, Plan
from tests.unit.sweep.house import BASE_URL, House

LOST = Create(accepted=True, answer="lost")
CUT = Create(accepted=False, answer="lost")
DONE = Plan(looks=0)


async def test_a_lost_create_is_recovered_with_one_paid_call(house: House) -> None:
    house.vendor.creates.append(LOST)
    house.vendor.plans.append(DONE)
    run = await house.order()
    await house.past("generate")

    assert await house.webhook(run, "job1") == 200
    await house.drain()

    await house.promise(run, "success")
    assert (await house.records(run))["call-1-1-id"] == {"job": "job1"}
    assert house.vendor.paid == ["job1"]
    assert house.fate.count("vendor.create") == 1


async def test_without_it_that_run_fails(house: House) -> None:
    house.vendor.creates.append(LOST)
    house.vendor.plans.append(DONE)
    run = await house.order()
    await house.drain()
    await house.promise(run, "failed", Code.VENDOR_UNKNOWN)


async def test_a_lost_create_whose_job_failed_fails_for_that(house: House) -> None:
    house.vendor.creates.append(LOST)
    house.vendor.plans.append(Plan(looks=0, end=JobState.FAILED, code=Code.CONTENT_VIOLATION))
    run = await house.order()
    await house.past("generate")
    await house.webhook(run, "job1")
    await house.drain()
    await house.promise(run, "failed", Code.CONTENT_VIOLATION)


async def test_a_hint_before_the_creates_own_answer_is_the_same_id(house: House) -> None:
    house.vendor.plans.append(DONE)
    run = await house.order()

    async def call() -> None:
        assert await house.webhook(run, "job1") == 200

    house.fate.strike("^vendor.create", call, done=True)
    await house.drain()
    await house.promise(run, "success")
    assert house.vendor.paid == ["job1"]


async def test_a_hint_comes_sooner_than_the_next_poll(house: House) -> None:
    house.vendor.plans.append(DONE)
    run = await house.order()
    await house.past("generate")
    before = house.now()
    await house.webhook(run, "job1")
    await house.pass_by("collect")
    assert house.now() - before < 1
    await house.drain()
    await house.promise(run, "success")
    assert house.heard(run) == ["success"]


async def test_a_hint_while_the_results_are_brought_home_starts_no_second_collect(house: House) -> None:
    house.vendor.plans.append(DONE)
    run = await house.order()

    async def call() -> None:
        assert await house.webhook(run, "job1") == 200
        # Another process takes it, while this one downloads.
        await house.engine.run_one(*await house.take())

    house.fate.strike("^files.get", call)
    await house.drain()
    await house.promise(run, "success")
    assert house.fate.left == 0
    assert len(house.sent("collect")) == 1
    assert house.heard(run) == ["success"]


async def test_a_hint_after_the_end_says_nothing_again(house: House) -> None:
    house.vendor.plans.append(DONE)
    run = await house.order()
    await house.drain()
    await house.webhook(run, "job1")
    await house.drain()
    assert house.heard(run) == ["success"]


@pytest.mark.parametrize("job", ["1000000000000000001", "job2"], ids=["forged", "of nobody"])
async def test_an_id_that_the_vendor_does_not_know_changes_nothing(house: House, job: str) -> None:
    house.vendor.creates.append(CUT)
    run = await house.order()
    await house.past("generate")
    before = await house.records(run)
    assert await house.webhook(run, job) == 200
    await house.step()
    assert await house.records(run) == before
    assert await house.desk() == []
    await house.drain()
    await house.promise(run, "failed", Code.VENDOR_UNKNOWN)


async def test_another_users_job_is_not_bound_to_a_call_whose_answer_was_lost(house: House) -> None:
    """The vendor knows the job, and the path is right: only what the job was made for tells."""
    house.vendor.creates.append(Create())
    house.vendor.plans.append(DONE)
    other = await house.order(user="u2")
    await house.past("generate")
    house.vendor.creates.append(CUT)
    run = await house.order()
    await house.past("generate")
    assert await house.webhook(run, "job1") == 200
    await house.drain()
    await house.promise(run, "failed", Code.VENDOR_UNKNOWN)
    await house.promise(other, "success")
    assert not [name for name in await house.records(run) if name.endswith("-id")]


async def test_a_vendor_that_shows_nothing_makes_a_hint_a_wake_only(house: House) -> None:
    house.vendor.shows = False
    house.vendor.creates.append(LOST)
    house.vendor.plans.append(DONE)
    run = await house.order()
    await house.past("generate")
    await house.webhook(run, "job1")
    await house.step()
    assert not [name for name in await house.records(run) if name.endswith("-id")]
    await house.drain()
    await house.promise(run, "failed", Code.VENDOR_UNKNOWN)


async def test_while_the_vendor_shows_it_not_yet_the_hint_waits(house: House) -> None:
    house.vendor.creates.append(LOST)
    house.vendor.plans.append(DONE)
    run = await house.order()
    await house.past("generate")
    house.fate.strike("vendor.made_for job1", *[raises(VendorDown("webhook event not exists"))] * 2)
    await house.webhook(run, "job1")
    await house.drain()
    await house.promise(run, "success")


async def test_a_hint_with_another_id_than_the_stored_one_changes_nothing(house: House) -> None:
    run = await house.order()
    other = await house.order()
    await house.past("generate")
    await house.past("generate")
    before = await house.records(run)
    looks = house.fate.count("vendor.query")
    await house.webhook(run, "job2")
    await house.step()
    assert await house.records(run) == before
    assert house.fate.count("vendor.query") == looks
    await house.drain()
    await house.promise(run, "success")
    await house.promise(other, "success")


async def test_a_hint_for_a_paid_call_that_was_never_begun_is_ignored(house: House) -> None:
    run = await house.order()
    await house.webhook(run, "job1")
    await house.pass_by("wake")
    await house.webhook(run, "job1", n=2)
    await house.drain()
    await house.promise(run, "success")
    assert house.vendor.paid == ["job1"]
    assert "call-1-2-id" not in await house.records(run)


async def test_a_hint_for_a_call_that_was_not_accepted_is_ignored(house: House) -> None:
    house.vendor.creates.append(CUT)
    run = await house.order()
    await house.past("generate")
    await house.ledger.write(run, CallEnd.at(1, 1), CallEnd("not_accepted", Code.BUSY))
    asked = house.fate.count("vendor.query")
    await house.wake(run, "webhook", job=Job(1, "job1"))
    await house.step()
    assert house.fate.count("vendor.query") == asked
    assert "call-1-1-id" not in await house.records(run)


async def test_while_the_vendor_is_away_the_hint_waits(house: House) -> None:
    house.vendor.creates.append(LOST)
    house.vendor.plans.append(DONE)
    run = await house.order()
    await house.past("generate")
    house.fate.strike("vendor.query job1", *[raises(VendorDown("502"))] * 3)
    await house.webhook(run, "job1")
    await house.drain()
    await house.promise(run, "success")


async def test_once_the_run_is_over_a_vendor_that_is_away_is_not_waited_for(house: House) -> None:
    house.vendor.creates.append(LOST)
    run = await house.order()
    await house.past("generate")
    await house.lose_everything()
    await asyncio.sleep(MODEL_POSE12.deadline_s)
    house.fate.strike("vendor.query job1", *[raises(VendorDown("502"))] * 9)
    await house.webhook(run, "job1")
    await house.drain()
    await house.promise(run, "failed", Code.TIMEOUT)
    assert house.fate.left == 8


async def test_the_vendor_is_told_the_paid_calls_own_path(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    create = house.vendor.create

    async def spy(request: object, *, timeout: float) -> str:  # noqa: ASYNC109 - the port's word
        told.append(request.webhook)  # type: ignore[attr-defined] # a JobRequest
        return await create(request, timeout=timeout)  # type: ignore[arg-type] # as it came

    monkeypatch.setattr(house.vendor, "create", spy)
    run = await house.order()
    await house.drain()
    assert told == [house.webhooks.url("runninghub", run, 1, 1)]
    assert told[0].startswith(f"{BASE_URL}/webhook/runninghub/u1/{run.task}/0/0/1/")
