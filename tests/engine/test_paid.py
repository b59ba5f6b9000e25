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
from tests.engine.fate import calls, raises, waits
from tests.engine.standins import Create, Plan
from tests.engine.world import World

LOST = Create(accepted=True, answer="lost")
CUT = Create(accepted=False, answer="lost")
FULL = Create(accepted=False, answer="full")
OPEN_S = MODEL_POSE12.create_limit_s + OPEN_MARGIN_S


@pytest.mark.parametrize("create", [LOST, CUT], ids=["accepted", "not accepted"])
async def test_an_unknown_outcome_is_never_posted_again_and_fails_the_run(world: World, create: Create) -> None:
    world.vendor.creates.append(create)
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert world.fate.count("vendor.create") == 1
    assert world.now() - 1_750_000_000 == pytest.approx(OPEN_S, rel=0.25)
    records = await world.records(run)
    assert "call-1-1" in records
    assert not {"call-1-1-id", "call-1-1-end", "call-1-2"} & records.keys()
    assert [letter["reason"] for letter in await world.desk()] == ["unknown"]


async def test_the_webhook_may_still_bring_the_id_of_an_open_call(world: World) -> None:
    world.vendor.creates.append(LOST)
    run = await world.order()
    await world.pass_by("generate", 1)
    await world.ledger.write(run, JobId.at(1, 1), JobId("job1"))
    await world.wake(run, "webhook")
    await world.drain()
    await world.promise(run, "success")
    assert world.fate.count("vendor.create") == 1


async def test_a_full_vendor_is_not_asked_to_create(world: World) -> None:
    world.vendor.full = 3
    run = await world.order()
    delivery, consumer = await world.until("generate")
    await world.run(delivery, consumer)
    assert "call-1-1" not in await world.records(run)
    assert world.pauses.left((), (key_of(world.vendor),)) >= 30
    await world.drain()
    await world.promise(run, "success")
    assert {header.attempt for header in world.sent("generate")} == {0}
    assert len(world.vendor.paid) == 1


async def test_a_create_refused_as_full_is_ended_snoozed_and_made_as_the_next_n(world: World) -> None:
    world.vendor.creates.extend([FULL, FULL])
    run = await world.order()
    delivery, consumer = await world.until("generate")
    await world.run(delivery, consumer)
    assert world.pauses.left((), (key_of(world.vendor),)) >= 30
    await world.drain()
    await world.promise(run, "success")
    records = await world.records(run)
    assert [records[f"call-1-{n}-end"]["how"] for n in (1, 2)] == ["not_accepted", "not_accepted"]
    assert records["call-1-3-id"]["job"] == "job1"
    assert world.vendor.paid == ["job1"]
    assert [header.attempt for header in world.sent("generate")] == [0, 0, 0]


@pytest.mark.parametrize("moment", ["before the intent is stored", "after it is stored"])
@pytest.mark.parametrize("clock", ["monotonic", "wall"])
async def test_a_process_that_froze_does_not_send_late(world: World, moment: str, clock: str) -> None:
    async def leap() -> None:
        world.jump += FRESH_S + 1

    run = await world.order()
    act = waits(FRESH_S + 1) if clock == "monotonic" else calls(leap)
    world.fate.strike("ledger.put_new .*/call-1-1$", act, done=moment.startswith("after"))
    delivery, consumer = await world.until("generate")
    await world.run(delivery, consumer)
    assert world.vendor.paid == []
    assert (await world.records(run))["call-1-1-end"]["how"] == "not_accepted"
    await world.drain()
    await world.promise(run, "success")
    assert (await world.records(run))["call-1-2-id"]["job"] == "job1"
    assert world.vendor.paid == ["job1"]


async def test_a_create_within_the_ten_seconds_is_sent(world: World) -> None:
    run = await world.order()
    world.fate.strike("ledger.put_new .*/call-1-1$", waits(FRESH_S - 1))
    await world.drain()
    await world.promise(run, "success")
    assert (await world.records(run))["call-1-1-id"]["job"] == "job1"


async def test_an_intent_whose_answer_and_read_back_are_lost_is_open_and_not_posted(world: World) -> None:
    run = await world.order()
    world.fate.strike("ledger.put_new .*/call-1-1$", raises(ObjectsDown("cut")), done=True)
    delivery, consumer = await world.until("generate")
    # The stage's own question what calls there are goes by; the read-back does not.
    world.fate.strike("ledger.get .*/call-1-1$", waits(0), *[raises(ObjectsDown("away"))] * 3)
    await world.run(delivery, consumer)
    assert "call-1-1" in await world.records(run)
    assert world.vendor.paid == []
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert world.vendor.paid == []


@pytest.mark.parametrize("error", [ObjectsDown, Denied])
@pytest.mark.parametrize("tries", [3, 40])
async def test_an_id_is_not_lost_however_long_the_store_is_away(
    world: World, tries: int, error: type[ObjectsDown]
) -> None:
    """The process tries on for a while; then the message carries the id, and every look tries to store it."""
    world.vendor.plans.append(Plan(looks=3))
    run = await world.order()
    world.fate.strike("ledger.put_new .*/call-1-1-id$", *[raises(error("away"))] * tries)
    await world.drain()
    await world.promise(run, "success")
    assert (await world.records(run))["call-1-1-id"]["job"] == "job1"
    assert world.fate.count("vendor.create") == 1


async def hang() -> None:
    """What a store that has no answer comes to."""
    await asyncio.sleep(30)
    raise ObjectsDown("read timed out")


async def test_an_id_stands_in_memory_alone_for_seconds_however_slow_the_store_fails(world: World) -> None:
    run = await world.order()
    created: list[float] = []

    async def note() -> None:
        created.append(world.now())

    world.fate.strike("vendor.create", calls(note), done=True)
    delivery, consumer = await world.until("generate")
    world.fate.strike("ledger.(put_new|get) .*/call-1-1-id$", *[hang] * 1000)
    await world.run(delivery, consumer)
    assert world.now() - created[0] <= SETTLE_LIMIT_S + 1
    (poll,) = [sent.payload for sent in world.wire.sent if sent.header.stage == "poll"]
    body = decode(poll).body
    assert isinstance(body, Poll)
    assert (body.unsaved, [job.id for job in body.jobs]) == (True, ["job1"])
    assert decode(poll).header.due_at - world.now() <= 3
    world.fate.clear()
    await world.drain()
    await world.promise(run, "success")
    assert world.vendor.paid == ["job1"]


async def test_a_cancel_is_heard_while_the_store_hangs(world: World) -> None:
    run = await world.order()
    delivery, consumer = await world.until("generate")
    paid = asyncio.Event()

    async def note() -> None:
        paid.set()

    world.fate.strike("vendor.create", calls(note), done=True)
    world.fate.strike("ledger.(put_new|get) .*/call-1-1-id$", *[hang] * 1000)
    work = asyncio.create_task(world.run(delivery, consumer))
    await paid.wait()
    work.cancel()
    before = world.now()
    await work
    assert world.now() - before <= SETTLE_LIMIT_S + 1
    world.fate.clear()
    await world.drain()
    await world.promise(run, "success")
    assert world.vendor.paid == ["job1"]


async def test_a_run_that_is_out_of_time_once_its_inputs_are_uploaded_pays_nothing(world: World) -> None:
    run = await world.order()
    delivery, consumer = await world.until("generate")
    accepted = await world.ledger.accepted(run)
    assert accepted is not None
    await asyncio.sleep(accepted.deadline - world.now() - 5)
    world.fate.strike("vendor.upload", waits(20.0))
    await world.run(delivery, consumer)
    assert world.vendor.uploads
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert world.vendor.paid == []
    assert "call-1-1" not in await world.records(run)


@pytest.mark.parametrize("end", ["cancelled", "late"])
async def test_an_id_that_could_not_be_stored_is_stored_though_the_run_has_ended(world: World, end: str) -> None:
    """Else nobody could stop the job."""
    world.vendor.plans.append(Plan(looks=10**6))
    run = await world.order()
    delivery, consumer = await world.until("generate")
    world.fate.strike("ledger.put_new .*/call-1-1-id$", *[raises(ObjectsDown("away"))] * 20)
    await world.run(delivery, consumer)
    world.fate.clear()
    if end == "late":
        poll, consumer = await world.until("poll")
        await asyncio.sleep(3600)
        await world.run(poll, consumer)
    else:
        await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.drain()
    await world.promise(run, *(("failed", Code.TIMEOUT) if end == "late" else ("cancelled", Code.CANCELLED)))
    assert (await world.records(run))["call-1-1-id"]["job"] == "job1"
    assert world.vendor.jobs["job1"].cancelled


async def test_a_call_always_has_its_whole_limit_however_slow_the_upload(world: World) -> None:
    run = await world.order()
    world.fate.strike("vendor.upload", waits(PREPARE_LIMIT_S - 1))
    world.fate.strike("vendor.create", waits(MODEL_POSE12.create_limit_s - 1), done=True)
    await world.drain()
    await world.promise(run, "success")
    assert {header.attempt for header in world.sent("generate")} == {0}


async def test_an_end_that_cannot_be_stored_leaves_the_call_open(world: World) -> None:
    world.vendor.creates.append(FULL)
    run = await world.order()
    world.fate.strike("ledger.put_new .*/call-1-1-end$", *[raises(ObjectsDown("away"))] * 20)
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert world.vendor.paid == []


@pytest.mark.parametrize("count", [2, 3])
async def test_several_generates_at_once_make_one_call(world: World, count: int) -> None:
    """Marks bound money, but the bound holds without them."""
    run = await world.order()
    held = [await world.until("generate")]
    for seq in range(1, count):
        await world.say(run, Stage.GENERATE, Generate(), seq=seq, kind="model_pose12")
        held.append(await world.until("generate"))
    await asyncio.gather(*(world.run(*one) for one in held))
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_after_a_failed_end_there_is_no_further_call(world: World) -> None:
    """The vendor fails it, one sweep, nothing else: the history that paid twice in an earlier form of the rules."""
    world.vendor.plans.append(Plan(looks=0, end=JobState.FAILED))
    run = await world.order()
    await world.pass_by("dead")
    await world.wake(run, "sweep")
    await world.say(run, Stage.GENERATE, Generate(), seq=1, kind="model_pose12")
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_FAILED)
    assert len(world.vendor.paid) == 1


async def test_a_given_up_call_and_a_message_delivered_twice_pay_once(world: World) -> None:
    world.vendor.creates.append(CUT)
    run = await world.order()
    delivery, consumer = await world.until("generate", 1)
    await asyncio.gather(world.run(delivery, consumer), world.run(delivery, consumer))
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert world.fate.count("vendor.create") == 1


async def test_the_webhook_between_unknown_and_failure_saves_the_run(world: World) -> None:
    """Whoever would write `failed` first reads the vendor ids."""
    world.vendor.creates.append(LOST)
    run = await world.order()
    await world.pass_by("dead")
    await world.ledger.write(run, JobId.at(1, 1), JobId("job1"))
    await world.wake(run, "webhook")
    await world.drain()
    await world.wake(run, "webhook")
    await world.drain()
    await world.promise(run, "success")
    assert [letter["verdict"] for letter in await world.desk()] == ["leave"]


@pytest.mark.parametrize("stage", ["poll", "collect", "wake"])
async def test_another_accounts_key_never_asks_about_a_job(world: World, stage: str) -> None:
    run = await world.order()
    if stage == "wake":
        await world.pass_by("poll")
        await world.wake(run)
    delivery, consumer = await world.until(stage)
    asked = world.fate.count("vendor.query job1")
    world.vendor.label = "another"
    await world.run(delivery, consumer)
    assert world.fate.count("vendor.query job1") == asked
    world.vendor.label = "main"
    await world.drain()
    await world.promise(run, "success")
    assert await world.desk() == []


async def test_a_call_is_recorded_with_its_vendor_and_the_label_of_its_key(world: World) -> None:
    run = await world.order()
    await world.drain()
    intent = await world.ledger.read(run, Intent.at(1, 1))
    assert intent is not None
    assert (intent.record.vendor, intent.record.label) == ("runninghub", "main")


async def test_a_later_build_with_another_vendor_pays_and_asks_the_one_that_was_accepted(world: World) -> None:
    run = await world.order()
    accepted = await world.ledger.accepted(run)
    assert accepted is not None
    assert accepted.vendor == "runninghub"
    await world.pass_by("clean")
    other = msgspec.structs.replace(MODEL_POSE12, vendor="another")
    world.out = dataclasses.replace(world.out, recipes={**world.recipes, other.kind: other})
    world.engine = world.new_engine()
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1
