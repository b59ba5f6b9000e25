"""A wake looks once and leaves, at whatever moment of a run it comes."""

from __future__ import annotations

import asyncio
import dataclasses

import msgspec
import pytest

from consumers.stages.generate import OPEN_MARGIN_S
from messages.bodies import Clean, Job, Poll, Stage, Wake
from messages.codes import Code
from messages.errors import Permanent
from messages.keys import RunId, record_key
from recipes.model_pose12 import MODEL_POSE12
from services.errors import BackendDown, BadQuestion, ObjectsDown, VendorDown
from services.vendors.port import JobState
from tasks.ending.cancel import cancel_task
from tasks.ledger.records import Accepted, Verdict
from tasks.wakes import LATEST, SWEEP, publish_wake
from tests.engine.fate import raises
from tests.engine.standins import Create, Plan
from tests.engine.world import KEYS, USER, World

STAGES = ("clean", "generate", "poll", "collect")
WHYS = ("sweep", "webhook", "cancel", "replay")


async def sweep_until_empty(world: World, run: RunId, times: int = 4) -> None:
    """What the sweep does for a run that the backend goes on listing."""
    for _ in range(times):
        await publish_wake(
            msgspec.structs.replace(run, run=LATEST), SWEEP, world.out.broker, world.ledger.now(), keys=KEYS
        )
        await world.drain()


@pytest.mark.parametrize("why", WHYS)
@pytest.mark.parametrize("stage", STAGES)
async def test_a_wake_beside_a_run_that_goes_on_changes_nothing(world: World, stage: str, why: str) -> None:
    run = await world.order()
    delivery, consumer = await world.until(stage)
    await world.wake(run, why)
    await world.wake(run, why, LATEST)
    await world.step()
    await world.step()
    await consumer.release(delivery)
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1
    assert world.heard(run) == ["success"]


@pytest.mark.parametrize("number", [0, LATEST])
@pytest.mark.parametrize("stage", STAGES)
async def test_whatever_message_the_broker_loses_wakes_carry_the_run_on(world: World, stage: str, number: int) -> None:
    run = await world.order()
    lost, consumer = await world.until(stage)
    await consumer.ack(lost)
    assert not world.wire.open
    for _ in range(3):
        await world.wake(run, "sweep", number)
        await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_a_verdict_that_nobody_delivered_is_delivered_by_a_wake(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", raises(BackendDown("away")))
    lost, consumer = await world.until("notify")
    await consumer.ack(lost)
    await world.wake(run, "sweep", LATEST)
    await world.drain()
    await world.promise(run, "success")
    assert world.heard(run) == ["success"]


async def test_a_message_from_a_wake_follows_the_highest_that_has_begun(world: World) -> None:
    """Were it numbered 0 again, a mark would turn it away, and the run would hang until its deadline."""
    run = await world.order()
    world.fate.strike("vendor.upload", *[raises(VendorDown("away"))] * 2)
    lost, consumer = await world.until("generate", 2)
    await consumer.ack(lost)
    await world.wake(run, "sweep")
    await world.step()
    assert [header.seq for header in world.sent("generate")] == [0, 1, 2, 2]
    await world.drain()
    await world.promise(run, "success")


async def test_a_wake_starts_no_chain_of_polls(world: World) -> None:
    world.vendor.plans.append(Plan(looks=30))
    run = await world.order()
    await world.pass_by("poll")
    for _ in range(5):
        await world.wake(run, "sweep")
    await world.until("poll")
    assert len(world.sent("poll")) == 1


async def test_a_wake_finds_the_results_that_the_poll_chain_would_find_later(world: World) -> None:
    run = await world.order()
    world.vendor.plans.append(Plan(looks=0))
    held, consumer = await world.until("poll")
    await world.wake(run, "webhook", job=Job(1, "job1"))
    await world.wake(run, "webhook", job=Job(1, "job1"))
    await world.step()
    await world.step()
    assert [header.seq for header in world.sent("collect")] == [0, 0]
    await consumer.release(held)
    await world.drain()
    await world.promise(run, "success")
    assert world.heard(run) == ["success"]


async def test_a_wake_waits_while_a_paid_call_is_open(world: World) -> None:
    world.vendor.creates.append(Create(answer="lost"))
    run = await world.order()
    lost, consumer = await world.until("generate", 1)
    await consumer.ack(lost)
    await world.wake(run, "sweep")
    await world.drain()
    assert "verdict" not in await world.records(run) or world.now() >= 1_750_000_000 + 120
    await asyncio.sleep(MODEL_POSE12.create_limit_s + OPEN_MARGIN_S)
    await world.wake(run, "sweep")
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert len(world.vendor.paid) == 1


async def test_a_webhooks_hint_brings_the_id_of_an_open_call_if_the_vendor_knows_it(world: World) -> None:
    world.vendor.creates.append(Create(answer="lost"))
    run = await world.order()
    held, consumer = await world.until("generate", 1)
    await world.wake(run, "webhook", job=Job(1, "nobody-knows"))
    await world.step()
    assert "call-1-1-id" not in await world.records(run)
    await world.wake(run, "webhook", job=Job(1, "job1"))
    await world.step()
    assert (await world.records(run))["call-1-1-id"]["job"] == "job1"
    await consumer.release(held)
    await world.drain()
    await world.promise(run, "success")
    assert world.fate.count("vendor.create") == 1


async def test_a_webhook_does_not_replace_an_id(world: World) -> None:
    run = await world.order()
    other = await world.order()
    await world.until("poll")
    await world.until("poll")
    await world.wake(run, "webhook", job=Job(1, "job2"))
    await world.wake(other, "webhook", job=Job(2, "job1"))
    await world.step()
    await world.step()
    assert (await world.records(run))["call-1-1-id"]["job"] == "job1"
    assert "call-1-2-id" not in await world.records(other)


async def test_a_job_that_a_wake_finds_failed_fails_the_run_once(world: World) -> None:
    world.vendor.plans.append(Plan(looks=0, end=JobState.FAILED))
    run = await world.order()
    held, consumer = await world.until("poll")
    await world.wake(run, "webhook", job=Job(1, "job1"))
    await world.step()
    await consumer.release(held)
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_FAILED)
    assert world.heard(run) == ["failed"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_wake_past_the_deadline_fails_the_run(world: World, stage: str) -> None:
    run = await world.order()
    lost, consumer = await world.until(stage)
    await consumer.ack(lost)
    await asyncio.sleep(1801)
    await world.wake(run, "sweep", LATEST)
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert all(job.cancelled for job in world.vendor.jobs.values())


# ---- nobody accepted the task ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, LATEST])
async def test_an_upload_whose_event_never_came_is_taken_in_by_a_wake(world: World, number: int) -> None:
    run = await world.upload()
    await world.wake(run, "sweep", number, since=int(world.now() * 1000))
    await world.drain()
    await world.promise(run, "success")


async def test_an_upload_that_is_absent_is_waited_for_until_its_limit_and_then_failed(world: World) -> None:
    run = await world.upload()
    await world.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    since = int(world.now() * 1000)
    await world.wake(run, "sweep", LATEST, since=since)
    await world.drain()
    assert await world.records(run) == {}
    await asyncio.sleep(world.out.policy.upload_limit_s)
    await world.wake(run, "sweep", LATEST, since=since)
    await world.drain()
    await world.promise(run, "failed", Code.NOT_UPLOADED)
    assert world.backend.heard[0].message == "未上传"


@pytest.mark.parametrize(
    ("error", "limits"),
    [(Permanent("in the archive"), 1), (ZeroDivisionError(), 1), (ObjectsDown("away"), 2)],
    ids=["refused", "a defect", "an outage"],
)
async def test_an_upload_that_cannot_be_looked_at_leaves_no_task_without_a_verdict(
    world: World, error: Exception, limits: int
) -> None:
    run = await world.upload()
    world.fate.strike("objects.head input/", *[raises(error)] * 1000)
    since = int(world.now() * 1000)
    for _ in range(limits):
        await world.wake(run, "sweep", LATEST, since=since)
        await world.drain()
        assert await world.records(run) == {}
        await asyncio.sleep(world.out.policy.upload_limit_s)
    await world.wake(run, "sweep", LATEST, since=since)
    await world.drain()
    assert (await world.verdict(run)).status == "failed"
    assert world.state(run) == ("failed", 1, 1)


async def test_an_upload_after_the_failed_verdict_starts_nothing(world: World) -> None:
    run = await world.upload()
    await world.ledger.write(run, Verdict.at(), Verdict("failed", Code.NOT_UPLOADED))
    assert await world.take_in(run) == "ended"
    await world.wake(run, "sweep", LATEST)
    await world.drain()
    await world.promise(run, "failed", Code.NOT_UPLOADED)
    assert world.sent("clean") == []


async def test_a_wake_that_does_not_know_the_age_waits(world: World) -> None:
    run = RunId(USER, "nobody")
    await world.wake(run, "cancel", LATEST)
    await world.drain()
    assert await world.records(run) == {}


async def test_a_cancel_before_the_upload_stands_when_the_upload_comes(world: World) -> None:
    run = await world.upload()
    await cancel_task(run, world.out)
    assert await world.take_in(run) == "ended"
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)


# ---- replays -----------------------------------------------------------------------------------------------------


async def failed_run(world: World) -> tuple[RunId, RunId]:
    """A run that has failed and was heard, and the next one, accepted as a replay does it."""
    world.vendor.plans.append(Plan(files=11))
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    accepted = await world.ledger.accepted(run)
    assert accepted is not None
    later = msgspec.structs.replace(run, run=1)
    now = world.now()
    await world.ledger.write(later, Accepted.at(), msgspec.structs.replace(accepted, created=now, deadline=now + 1800))
    return run, later


async def test_a_replay_works_only_after_the_backend_has_said_yes(world: World) -> None:
    run, later = await failed_run(world)
    await world.wake(run, "replay", LATEST)
    await world.drain()
    assert (await world.verdict(later)).status == "success"
    assert {"reopened", "delivered"} <= (await world.records(later)).keys()
    assert world.state(run) == ("success", 2, 1)
    assert world.heard(run) == ["failed", "success"]
    assert [call.run for call in world.backend.heard] == [0, 1]
    assert len(await world.outputs(run)) == 12


async def test_a_replay_that_the_backend_refuses_is_recorded_and_calls_nobody(world: World) -> None:
    run, later = await failed_run(world)
    world.backend.book.reopen(run.task, 0, world.now())
    world.backend.book.cancel(run.task)
    await world.wake(run, "replay", LATEST)
    await world.drain()
    assert set(await world.records(later)) == {"accepted", "reopen_denied"}
    await world.wake(run, "sweep", 1)
    await world.drain()
    assert set(await world.records(later)) == {"accepted", "reopen_denied"}
    assert world.heard(run) == ["failed"]
    assert len(world.vendor.paid) == 1


async def test_a_replay_past_its_deadline_is_refused_without_a_callback(world: World) -> None:
    run, later = await failed_run(world)
    await asyncio.sleep(1801)
    await world.wake(run, "replay", LATEST)
    await world.drain()
    assert set(await world.records(later)) == {"accepted", "reopen_denied"}
    assert world.heard(run) == ["failed"]


async def test_a_replay_whose_question_gets_no_answer_asks_again(world: World) -> None:
    run, later = await failed_run(world)
    world.fate.strike("backend.reopen", raises(BackendDown("away")), raises(BackendDown("away")))
    await world.wake(run, "replay", LATEST)
    await world.drain()
    assert (await world.verdict(later)).status == "success"
    assert world.state(run) == ("success", 2, 1)


async def test_a_replay_whose_question_the_backend_calls_wrong_goes_to_the_desk_and_changes_no_verdict(
    world: World,
) -> None:
    run, later = await failed_run(world)
    world.fate.strike("backend.reopen", raises(BadQuestion("answered 400")))
    await world.wake(run, "replay", LATEST)
    await world.drain()
    assert "BadQuestion" in [record["error"] for record in await world.desk()]
    assert set(await world.records(later)) == {"accepted"}
    assert world.heard(run) == ["failed"]


async def test_messages_of_an_old_run_never_touch_a_later_one(world: World) -> None:
    run, later = await failed_run(world)
    await world.wake(run, "replay", LATEST)
    await world.pass_by("collect")
    before = await world.records(later)
    staged = await world.staged(later)
    old = [sent for sent in world.wire.sent if sent.header.run == 0]
    held, consumer = await world.until("collect")
    for sent in old:
        await world.wire.publish(sent.topic, sent.payload)
    for _ in old:
        await world.step()
    assert await world.records(later) == before
    assert await world.staged(later) == staged
    assert not world.vendor.jobs["job2"].cancelled
    assert world.heard(run) == ["failed"]
    await consumer.release(held)
    await world.drain()
    assert (await world.verdict(later)).status == "success"
    assert len(await world.outputs(run)) == 12


@pytest.mark.parametrize("why", ["cancel", "webhook", "replay"])
async def test_another_wake_that_meets_an_outage_comes_again(world: World, why: str) -> None:
    run = await world.order()
    lost, consumer = await world.until("generate")
    await consumer.ack(lost)
    world.ledger.cache.clear()
    world.fate.strike("ledger.get .*/accepted", *[raises(ObjectsDown("away"))] * 3)
    await world.wake(run, why)
    await world.drain()
    await world.promise(run, "success")


async def of_a_kind_that_is_not_known_here(world: World) -> RunId:
    """A run in the middle of its work, whose message is lost, in a deployment that has forgotten its kind."""
    run = await world.order()
    lost, consumer = await world.until("poll")
    await consumer.ack(lost)
    await world.drain()
    world.out = dataclasses.replace(world.out, recipes={})
    world.engine = world.new_engine()
    return run


async def test_a_kind_this_build_does_not_know_expires_all_the_same(world: World) -> None:
    run = await of_a_kind_that_is_not_known_here(world)
    await world.wake(run, "sweep", LATEST)
    await world.drain()
    assert await world.ledger.verdict(run) is None
    await asyncio.sleep(1800)
    await world.wake(run, "sweep", LATEST)
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert [job.cancelled for job in world.vendor.jobs.values()] == [True]


@pytest.mark.parametrize("why", ["cancel", "sweep", "webhook"])
async def test_a_verdict_of_a_kind_this_build_does_not_know_is_brought_to_its_end(world: World, why: str) -> None:
    run = await of_a_kind_that_is_not_known_here(world)
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.wake(run, why, LATEST)
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)


async def test_a_hint_for_an_ended_run_of_a_kind_this_build_does_not_know_is_given_up(world: World) -> None:
    run = await of_a_kind_that_is_not_known_here(world)
    await world.ledger.objects.delete([record_key(run, "call-1-1-id")])
    await world.ledger.write(run, Verdict.at(), Verdict("failed", Code.TIMEOUT))
    await world.wake(run, "webhook", job=Job(1, "job1"))
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert len(world.sent("wake")) == 1


async def test_a_replay_of_a_kind_this_build_does_not_know_is_not_charged_and_refused_when_it_is_late(
    world: World,
) -> None:
    run, later = await failed_run(world)
    world.out = dataclasses.replace(world.out, recipes={})
    world.engine = world.new_engine()
    await world.wake(later, "sweep", later.run)
    await world.drain()
    assert world.state(run) == ("failed", 1, 1)
    await asyncio.sleep(1800)
    await world.wake(later, "sweep", later.run)
    await world.drain()
    assert "reopen_denied" in await world.records(later)
    assert world.state(run) == ("failed", 1, 1)


@pytest.mark.parametrize("number", [0, LATEST])
async def test_a_wake_for_a_kind_this_build_does_not_know_gives_no_verdict(world: World, number: int) -> None:
    """A rolling deploy must refund nobody."""
    run = await world.upload()
    now = world.now()
    accepted = Accepted(kind="kind_of_tomorrow", params={}, inputs=(), created=now, deadline=now + 1800)
    await world.ledger.write(run, Accepted.at(), accepted)
    await world.say(run, Stage.WAKE, Wake("webhook"), number=number)
    await world.say(run, Stage.CLEAN, Clean(), kind="kind_of_tomorrow")
    await world.say(run, Stage.POLL, Poll((Job(1, "job1"),), int(now * 1000)), kind="kind_of_tomorrow")
    for _ in range(200):
        await world.step()
        # Its deadline ends it, whatever kind it is.
        if world.now() > now + 1600:
            break
    page = await world.ledger.objects.list(f"ledger/{run.user}/{run.task}/")
    assert not [item.key for item in page.items if item.key.endswith("verdict")]
    assert world.heard(run) == []
