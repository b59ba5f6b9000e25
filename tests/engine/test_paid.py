"""A paid vendor call is never repeated by accident."""

from __future__ import annotations

import asyncio
import dataclasses

import msgspec
import pytest

from consumers.engine.limits import PREPARE_LIMIT_S, SETTLE_LIMIT_S
from consumers.stages.generate import FRESH_S, OPEN_MARGIN_S
from messages.bodies import Generate, Poll, Stage
from messages.codec import decode
from messages.codes import Code
from recipes.model_pose12 import MODEL_POSE12
from services.errors import Denied, ObjectsDown
from services.vendors.port import JobState, key_of
from tasks.ledger.records import Intent, JobId, Verdict
from tests.engine.fault_injector import calls, raises, waits
from tests.engine.harness import Harness
from tests.engine.standins import Create, Plan

LOST = Create(accepted=True, answer="lost")
CUT = Create(accepted=False, answer="lost")
FULL = Create(accepted=False, answer="full")
OPEN_S = MODEL_POSE12.create_limit_s + OPEN_MARGIN_S


@pytest.mark.parametrize("create", [LOST, CUT], ids=["accepted", "not accepted"])
async def test_an_unknown_outcome_is_never_posted_again_and_fails_the_run(harness: Harness, create: Create) -> None:
    harness.vendor.creates.append(create)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert harness.injector.count("vendor.create") == 1
    assert harness.now() - 1_750_000_000 == pytest.approx(OPEN_S, rel=0.25)
    records = await harness.records(run)
    assert "call-1-1" in records
    assert not {"call-1-1-id", "call-1-1-end", "call-1-2"} & records.keys()
    assert [letter["reason"] for letter in await harness.dead_letters()] == ["unknown"]


async def test_the_webhook_may_still_bring_the_id_of_an_open_call(harness: Harness) -> None:
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.pass_by("generate", 1)
    await harness.ledger.write(run, JobId.at(1, 1), JobId("job1"))
    await harness.wake(run, "webhook")
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count("vendor.create") == 1


async def test_a_full_vendor_is_not_asked_to_create(harness: Harness) -> None:
    harness.vendor.full = 3
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert "call-1-1" not in await harness.records(run)
    assert harness.pauses.left((), (key_of(harness.vendor),)) >= 30
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("generate")} == {0}
    assert len(harness.vendor.paid) == 1


async def test_a_create_refused_as_full_is_ended_snoozed_and_made_as_the_next_n(harness: Harness) -> None:
    harness.vendor.creates.extend([FULL, FULL])
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert harness.pauses.left((), (key_of(harness.vendor),)) >= 30
    await harness.drain()
    await harness.promise(run, "success")
    records = await harness.records(run)
    assert [records[f"call-1-{n}-end"]["how"] for n in (1, 2)] == ["not_accepted", "not_accepted"]
    assert records["call-1-3-id"]["job"] == "job1"
    assert harness.vendor.paid == ["job1"]
    assert [header.attempt for header in harness.sent("generate")] == [0, 0, 0]


@pytest.mark.parametrize("moment", ["before the intent is stored", "after it is stored"])
@pytest.mark.parametrize("clock", ["monotonic", "wall"])
async def test_a_process_that_froze_does_not_send_late(harness: Harness, moment: str, clock: str) -> None:
    async def leap() -> None:
        harness.jump += FRESH_S + 1

    run = await harness.order()
    act = waits(FRESH_S + 1) if clock == "monotonic" else calls(leap)
    harness.injector.strike("ledger.put_new .*/call-1-1$", act, done=moment.startswith("after"))
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert harness.vendor.paid == []
    assert (await harness.records(run))["call-1-1-end"]["how"] == "not_accepted"
    await harness.drain()
    await harness.promise(run, "success")
    assert (await harness.records(run))["call-1-2-id"]["job"] == "job1"
    assert harness.vendor.paid == ["job1"]


async def test_a_create_within_the_ten_seconds_is_sent(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/call-1-1$", waits(FRESH_S - 1))
    await harness.drain()
    await harness.promise(run, "success")
    assert (await harness.records(run))["call-1-1-id"]["job"] == "job1"


async def test_an_intent_whose_answer_and_read_back_are_lost_is_open_and_not_posted(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/call-1-1$", raises(ObjectsDown("cut")), done=True)
    delivery, consumer = await harness.until("generate")
    # The stage's own listing of calls succeeds; the read-back does not.
    harness.injector.strike("ledger.get .*/call-1-1$", waits(0), *[raises(ObjectsDown("away"))] * 3)
    await harness.run(delivery, consumer)
    assert "call-1-1" in await harness.records(run)
    assert harness.vendor.paid == []
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert harness.vendor.paid == []


@pytest.mark.parametrize("error", [ObjectsDown, Denied])
@pytest.mark.parametrize("tries", [3, 40])
async def test_an_id_is_not_lost_however_long_the_store_is_away(
    harness: Harness, tries: int, error: type[ObjectsDown]
) -> None:
    """The process tries on for a while; then the message carries the id, and every look tries to store it."""
    harness.vendor.plans.append(Plan(looks=3))
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/call-1-1-id$", *[raises(error("away"))] * tries)
    await harness.drain()
    await harness.promise(run, "success")
    assert (await harness.records(run))["call-1-1-id"]["job"] == "job1"
    assert harness.injector.count("vendor.create") == 1


async def hang() -> None:
    """Outcome with a store that gives no answer."""
    await asyncio.sleep(30)
    raise ObjectsDown("read timed out")


async def test_an_id_stands_in_memory_alone_for_seconds_however_slow_the_store_fails(harness: Harness) -> None:
    run = await harness.order()
    created: list[float] = []

    async def note() -> None:
        created.append(harness.now())

    harness.injector.strike("vendor.create", calls(note), done=True)
    delivery, consumer = await harness.until("generate")
    harness.injector.strike("ledger.(put_new|get) .*/call-1-1-id$", *[hang] * 1000)
    await harness.run(delivery, consumer)
    assert harness.now() - created[0] <= SETTLE_LIMIT_S + 1
    (poll,) = [sent.payload for sent in harness.wire.sent if sent.header.stage == "poll"]
    body = decode(poll).body
    assert isinstance(body, Poll)
    assert (body.unsaved, [job.id for job in body.jobs]) == (True, ["job1"])
    assert decode(poll).header.due_at - harness.now() <= 3
    harness.injector.clear()
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]


async def test_a_cancel_is_heard_while_the_store_hangs(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    paid = asyncio.Event()

    async def note() -> None:
        paid.set()

    harness.injector.strike("vendor.create", calls(note), done=True)
    harness.injector.strike("ledger.(put_new|get) .*/call-1-1-id$", *[hang] * 1000)
    work = asyncio.create_task(harness.run(delivery, consumer))
    await paid.wait()
    work.cancel()
    before = harness.now()
    await work
    assert harness.now() - before <= SETTLE_LIMIT_S + 1
    harness.injector.clear()
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]


async def test_a_run_that_is_out_of_time_once_its_inputs_are_uploaded_pays_nothing(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    accepted = await harness.ledger.accepted(run)
    assert accepted is not None
    await asyncio.sleep(accepted.deadline - harness.now() - 5)
    harness.injector.strike("vendor.upload", waits(20.0))
    await harness.run(delivery, consumer)
    assert harness.vendor.uploads
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert harness.vendor.paid == []
    assert "call-1-1" not in await harness.records(run)


@pytest.mark.parametrize("end", ["cancelled", "late"])
async def test_an_id_that_could_not_be_stored_is_stored_though_the_run_has_ended(harness: Harness, end: str) -> None:
    """Otherwise no worker could stop the job."""
    harness.vendor.plans.append(Plan(looks=10**6))
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    harness.injector.strike("ledger.put_new .*/call-1-1-id$", *[raises(ObjectsDown("away"))] * 20)
    await harness.run(delivery, consumer)
    harness.injector.clear()
    if end == "late":
        poll, consumer = await harness.until("poll")
        await asyncio.sleep(3600)
        await harness.run(poll, consumer)
    else:
        await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.drain()
    await harness.promise(run, *(("failed", Code.TIMEOUT) if end == "late" else ("cancelled", Code.CANCELLED)))
    assert (await harness.records(run))["call-1-1-id"]["job"] == "job1"
    assert harness.vendor.jobs["job1"].cancelled


async def test_a_call_always_has_its_whole_limit_however_slow_the_upload(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("vendor.upload", waits(PREPARE_LIMIT_S - 1))
    harness.injector.strike("vendor.create", waits(MODEL_POSE12.create_limit_s - 1), done=True)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("generate")} == {0}


async def test_an_end_that_cannot_be_stored_leaves_the_call_open(harness: Harness) -> None:
    harness.vendor.creates.append(FULL)
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/call-1-1-end$", *[raises(ObjectsDown("away"))] * 60)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert harness.vendor.paid == []


@pytest.mark.parametrize("count", [2, 3])
async def test_several_generates_at_once_make_one_call(harness: Harness, count: int) -> None:
    """Marks limit costs, but the limit holds without them."""
    run = await harness.order()
    held = [await harness.until("generate")]
    for seq in range(1, count):
        await harness.say(run, Stage.GENERATE, Generate(), seq=seq, kind="model_pose12")
        held.append(await harness.until("generate"))
    await asyncio.gather(*(harness.run(*one) for one in held))
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_after_a_failed_end_there_is_no_further_call(harness: Harness) -> None:
    """The vendor fails it, one sweep, nothing else: the history that paid twice in an earlier form of the rules."""
    harness.vendor.plans.append(Plan(looks=0, end=JobState.FAILED))
    run = await harness.order()
    await harness.pass_by("dead")
    await harness.wake(run, "sweep")
    await harness.say(run, Stage.GENERATE, Generate(), seq=1, kind="model_pose12")
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert len(harness.vendor.paid) == 1


async def test_a_given_up_call_and_a_message_delivered_twice_pay_once(harness: Harness) -> None:
    harness.vendor.creates.append(CUT)
    run = await harness.order()
    delivery, consumer = await harness.until("generate", 1)
    await asyncio.gather(harness.run(delivery, consumer), harness.run(delivery, consumer))
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert harness.injector.count("vendor.create") == 1


async def test_the_webhook_between_unknown_and_failure_saves_the_run(harness: Harness) -> None:
    """The vendor ids are read before `failed` is written."""
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.pass_by("dead")
    await harness.ledger.write(run, JobId.at(1, 1), JobId("job1"))
    await harness.wake(run, "webhook")
    await harness.drain()
    await harness.wake(run, "webhook")
    await harness.drain()
    await harness.promise(run, "success")
    assert [letter["verdict"] for letter in await harness.dead_letters()] == ["wake"]


@pytest.mark.parametrize("stage", ["poll", "collect", "wake"])
async def test_another_accounts_key_never_asks_about_a_job(harness: Harness, stage: str) -> None:
    run = await harness.order()
    if stage == "wake":
        await harness.pass_by("poll")
        await harness.wake(run)
    delivery, consumer = await harness.until(stage)
    asked = harness.injector.count("vendor.query job1")
    harness.vendor.label = "another"
    await harness.run(delivery, consumer)
    assert harness.injector.count("vendor.query job1") == asked
    harness.vendor.label = "main"
    await harness.drain()
    await harness.promise(run, "success")
    assert await harness.dead_letters() == []


async def test_a_call_is_recorded_with_its_vendor_and_the_label_of_its_key(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    intent = await harness.ledger.read(run, Intent.at(1, 1))
    assert intent is not None
    assert (intent.record.vendor, intent.record.label) == ("runninghub", "main")


async def test_a_later_build_with_another_vendor_pays_and_asks_the_one_that_was_accepted(harness: Harness) -> None:
    run = await harness.order()
    accepted = await harness.ledger.accepted(run)
    assert accepted is not None
    assert accepted.vendor == "runninghub"
    await harness.pass_by("clean")
    other = msgspec.structs.replace(MODEL_POSE12, vendor="another")
    harness.out = dataclasses.replace(harness.out, recipes={**harness.recipes, other.kind: other})
    harness.engine = harness.new_engine()
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1
