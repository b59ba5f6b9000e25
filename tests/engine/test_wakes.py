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
from tests.engine.fault_injector import raises
from tests.engine.harness import KEYS, USER, Harness
from tests.engine.standins import Create, Plan

STAGES = ("clean", "generate", "poll", "collect")
WHYS = ("sweep", "webhook", "cancel", "replay")


async def sweep_until_empty(harness: Harness, run: RunId, times: int = 4) -> None:
    """The sweep's wake for a run that the backend goes on listing."""
    for _ in range(times):
        await publish_wake(
            msgspec.structs.replace(run, run=LATEST), SWEEP, harness.out.broker, harness.ledger.now(), keys=KEYS
        )
        await harness.drain()


@pytest.mark.parametrize("why", WHYS)
@pytest.mark.parametrize("stage", STAGES)
async def test_a_wake_beside_a_run_that_goes_on_changes_nothing(harness: Harness, stage: str, why: str) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    await harness.wake(run, why)
    await harness.wake(run, why, LATEST)
    await harness.step()
    await harness.step()
    await consumer.release(delivery)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1
    assert harness.heard(run) == ["success"]


@pytest.mark.parametrize("number", [0, LATEST])
@pytest.mark.parametrize("stage", STAGES)
async def test_whatever_message_the_broker_loses_wakes_carry_the_run_on(
    harness: Harness, stage: str, number: int
) -> None:
    run = await harness.order()
    lost, consumer = await harness.until(stage)
    await consumer.ack(lost)
    assert not harness.wire.open
    for _ in range(3):
        await harness.wake(run, "sweep", number)
        await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_a_verdict_that_nobody_delivered_is_delivered_by_a_wake(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", raises(BackendDown("away")))
    lost, consumer = await harness.until("notify")
    await consumer.ack(lost)
    await harness.wake(run, "sweep", LATEST)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.heard(run) == ["success"]


async def test_a_message_from_a_wake_follows_the_highest_that_has_begun(harness: Harness) -> None:
    """With number 0 again it would be rejected because of a mark, and the run would hang until its deadline."""
    run = await harness.order()
    harness.injector.strike("vendor.upload", *[raises(VendorDown("away"))] * 2)
    lost, consumer = await harness.until("generate", 2)
    await consumer.ack(lost)
    await harness.wake(run, "sweep")
    await harness.step()
    assert [header.seq for header in harness.sent("generate")] == [0, 1, 2, 2]
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_wake_starts_no_chain_of_polls(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=30))
    run = await harness.order()
    await harness.pass_by("poll")
    for _ in range(5):
        await harness.wake(run, "sweep")
    await harness.until("poll")
    assert len(harness.sent("poll")) == 1


async def test_a_wake_finds_the_results_that_the_poll_chain_would_find_later(harness: Harness) -> None:
    run = await harness.order()
    harness.vendor.plans.append(Plan(looks=0))
    held, consumer = await harness.until("poll")
    await harness.wake(run, "webhook", job=Job(1, "job1"))
    await harness.wake(run, "webhook", job=Job(1, "job1"))
    await harness.step()
    await harness.step()
    assert [header.seq for header in harness.sent("collect")] == [0, 0]
    await consumer.release(held)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.heard(run) == ["success"]


async def test_a_wake_waits_while_a_paid_call_is_open(harness: Harness) -> None:
    harness.vendor.creates.append(Create(answer="lost"))
    run = await harness.order()
    lost, consumer = await harness.until("generate", 1)
    await consumer.ack(lost)
    await harness.wake(run, "sweep")
    await harness.drain()
    assert "verdict" not in await harness.records(run) or harness.now() >= 1_750_000_000 + 120
    await asyncio.sleep(MODEL_POSE12.create_limit_s + OPEN_MARGIN_S)
    await harness.wake(run, "sweep")
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert len(harness.vendor.paid) == 1


async def test_a_webhooks_hint_brings_the_id_of_an_open_call_if_the_vendor_knows_it(harness: Harness) -> None:
    harness.vendor.creates.append(Create(answer="lost"))
    run = await harness.order()
    held, consumer = await harness.until("generate", 1)
    await harness.wake(run, "webhook", job=Job(1, "nobody-knows"))
    await harness.step()
    assert "call-1-1-id" not in await harness.records(run)
    await harness.wake(run, "webhook", job=Job(1, "job1"))
    await harness.step()
    assert (await harness.records(run))["call-1-1-id"]["job"] == "job1"
    await consumer.release(held)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count("vendor.create") == 1


async def test_a_webhook_does_not_replace_an_id(harness: Harness) -> None:
    run = await harness.order()
    other = await harness.order()
    await harness.until("poll")
    await harness.until("poll")
    await harness.wake(run, "webhook", job=Job(1, "job2"))
    await harness.wake(other, "webhook", job=Job(2, "job1"))
    await harness.step()
    await harness.step()
    assert (await harness.records(run))["call-1-1-id"]["job"] == "job1"
    assert "call-1-2-id" not in await harness.records(other)


async def test_a_job_that_a_wake_finds_failed_fails_the_run_once(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=0, end=JobState.FAILED))
    run = await harness.order()
    held, consumer = await harness.until("poll")
    await harness.wake(run, "webhook", job=Job(1, "job1"))
    await harness.step()
    await consumer.release(held)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert harness.heard(run) == ["failed"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_wake_past_the_deadline_fails_the_run(harness: Harness, stage: str) -> None:
    run = await harness.order()
    lost, consumer = await harness.until(stage)
    await consumer.ack(lost)
    await asyncio.sleep(1801)
    await harness.wake(run, "sweep", LATEST)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert all(job.cancelled == (stage != "collect") for job in harness.vendor.jobs.values())


# ---- nobody accepted the task ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, LATEST])
async def test_an_upload_whose_event_never_came_is_taken_in_by_a_wake(harness: Harness, number: int) -> None:
    run = await harness.upload()
    await harness.wake(run, "sweep", number, since=int(harness.now() * 1000))
    await harness.drain()
    await harness.promise(run, "success")


async def test_an_upload_that_is_absent_is_waited_for_until_its_limit_and_then_failed(harness: Harness) -> None:
    run = await harness.upload()
    await harness.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    since = int(harness.now() * 1000)
    await harness.wake(run, "sweep", LATEST, since=since)
    await harness.drain()
    assert await harness.records(run) == {}
    await asyncio.sleep(harness.out.policy.upload_limit_s)
    await harness.wake(run, "sweep", LATEST, since=since)
    await harness.drain()
    await harness.promise(run, "failed", Code.NOT_UPLOADED)
    assert harness.backend.heard[0].message == "未上传"


@pytest.mark.parametrize(
    ("error", "limits"),
    [(Permanent("in the archive"), 1), (ZeroDivisionError(), 1), (ObjectsDown("away"), 2)],
    ids=["refused", "a defect", "an outage"],
)
async def test_an_upload_that_cannot_be_looked_at_leaves_no_task_without_a_verdict(
    harness: Harness, error: Exception, limits: int
) -> None:
    run = await harness.upload()
    harness.injector.strike("objects.head input/", *[raises(error)] * 1000)
    since = int(harness.now() * 1000)
    for _ in range(limits):
        await harness.wake(run, "sweep", LATEST, since=since)
        await harness.drain()
        assert await harness.records(run) == {}
        await asyncio.sleep(harness.out.policy.upload_limit_s)
    await harness.wake(run, "sweep", LATEST, since=since)
    await harness.drain()
    assert (await harness.verdict(run)).status == "failed"
    assert harness.state(run) == ("failed", 1, 1)


async def test_an_upload_after_the_failed_verdict_starts_nothing(harness: Harness) -> None:
    run = await harness.upload()
    await harness.ledger.write(run, Verdict.at(), Verdict("failed", Code.NOT_UPLOADED))
    assert await harness.take_in(run) == "ended"
    await harness.wake(run, "sweep", LATEST)
    await harness.drain()
    await harness.promise(run, "failed", Code.NOT_UPLOADED)
    assert harness.sent("clean") == []


async def test_a_wake_that_does_not_know_the_age_waits(harness: Harness) -> None:
    run = RunId(USER, "nobody")
    await harness.wake(run, "cancel", LATEST)
    await harness.drain()
    assert await harness.records(run) == {}


async def test_a_cancel_before_the_upload_stands_when_the_upload_comes(harness: Harness) -> None:
    run = await harness.upload()
    await cancel_task(run, harness.out)
    assert await harness.take_in(run) == "ended"
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)


# ---- replays -----------------------------------------------------------------------------------------------------


async def failed_run(harness: Harness) -> tuple[RunId, RunId]:
    """A run that has failed and was delivered, and the next one, accepted as a replay does it."""
    harness.vendor.plans.append(Plan(files=11))
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    accepted = await harness.ledger.accepted(run)
    assert accepted is not None
    later = msgspec.structs.replace(run, run=1)
    now = harness.now()
    await harness.ledger.write(
        later, Accepted.at(), msgspec.structs.replace(accepted, created=now, deadline=now + 1800)
    )
    return run, later


async def test_a_replay_works_only_after_the_backend_has_said_yes(harness: Harness) -> None:
    run, later = await failed_run(harness)
    await harness.wake(run, "replay", LATEST)
    await harness.drain()
    assert (await harness.verdict(later)).status == "success"
    assert {"reopened", "delivered"} <= (await harness.records(later)).keys()
    assert harness.state(run) == ("success", 2, 1)
    assert harness.heard(run) == ["failed", "success"]
    assert [call.run for call in harness.backend.heard] == [0, 1]
    assert len(await harness.outputs(run)) == 12


async def test_a_replay_that_the_backend_refuses_is_recorded_and_calls_nobody(harness: Harness) -> None:
    run, later = await failed_run(harness)
    harness.backend.book.reopen(run.task, 0, 7, harness.now())
    harness.backend.book.cancel(run.task)
    await harness.wake(run, "replay", LATEST)
    await harness.drain()
    assert set(await harness.records(later)) == {"accepted", "reopening", "reopen_denied"}
    await harness.wake(run, "sweep", 1)
    await harness.drain()
    assert set(await harness.records(later)) == {"accepted", "reopening", "reopen_denied"}
    assert harness.heard(run) == ["failed"]
    assert len(harness.vendor.paid) == 1


async def test_a_replay_past_its_deadline_is_refused_without_a_callback(harness: Harness) -> None:
    run, later = await failed_run(harness)
    await asyncio.sleep(1801)
    await harness.wake(run, "replay", LATEST)
    await harness.drain()
    assert set(await harness.records(later)) == {"accepted", "reopening", "reopen_denied"}
    assert harness.heard(run) == ["failed"]


async def test_a_replay_whose_question_gets_no_answer_asks_again(harness: Harness) -> None:
    run, later = await failed_run(harness)
    harness.injector.strike("backend.reopen", raises(BackendDown("away")), raises(BackendDown("away")))
    await harness.wake(run, "replay", LATEST)
    await harness.drain()
    assert (await harness.verdict(later)).status == "success"
    assert harness.state(run) == ("success", 2, 1)


async def test_a_replay_whose_question_the_backend_calls_wrong_goes_to_the_desk_and_changes_no_verdict(
    harness: Harness,
) -> None:
    run, later = await failed_run(harness)
    harness.injector.strike("backend.reopen", raises(BadQuestion("answered 400")))
    await harness.wake(run, "replay", LATEST)
    await harness.drain()
    assert "BadQuestion" in [record["error"] for record in await harness.dead_letters()]
    assert set(await harness.records(later)) == {"accepted", "reopening"}
    assert harness.heard(run) == ["failed"]


async def test_messages_of_an_old_run_never_touch_a_later_one(harness: Harness) -> None:
    run, later = await failed_run(harness)
    await harness.wake(run, "replay", LATEST)
    await harness.pass_by("collect")
    before = await harness.records(later)
    staged = await harness.staged(later)
    old = [sent for sent in harness.wire.sent if sent.header.run == 0]
    held, consumer = await harness.until("collect")
    for sent in old:
        await harness.wire.publish(sent.topic, sent.payload)
    for _ in old:
        await harness.step()
    assert await harness.records(later) == before
    assert await harness.staged(later) == staged
    assert not harness.vendor.jobs["job2"].cancelled
    assert harness.heard(run) == ["failed"]
    await consumer.release(held)
    await harness.drain()
    assert (await harness.verdict(later)).status == "success"
    assert len(await harness.outputs(run)) == 12


@pytest.mark.parametrize("why", ["cancel", "webhook", "replay"])
async def test_another_wake_that_meets_an_outage_comes_again(harness: Harness, why: str) -> None:
    run = await harness.order()
    lost, consumer = await harness.until("generate")
    await consumer.ack(lost)
    harness.ledger.cache.clear()
    harness.injector.strike("ledger.get .*/accepted", *[raises(ObjectsDown("away"))] * 3)
    await harness.wake(run, why)
    await harness.drain()
    await harness.promise(run, "success")


async def of_a_kind_that_is_not_known_here(harness: Harness) -> RunId:
    """A run in the middle of its work, whose message is lost, in a deployment that has forgotten its kind."""
    run = await harness.order()
    lost, consumer = await harness.until("poll")
    await consumer.ack(lost)
    await harness.drain()
    harness.out = dataclasses.replace(harness.out, recipes={})
    harness.engine = harness.new_engine()
    return run


async def test_a_kind_this_build_does_not_know_expires_all_the_same(harness: Harness) -> None:
    run = await of_a_kind_that_is_not_known_here(harness)
    await harness.wake(run, "sweep", LATEST)
    await harness.drain()
    assert await harness.ledger.verdict(run) is None
    await asyncio.sleep(1800)
    await harness.wake(run, "sweep", LATEST)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert [job.cancelled for job in harness.vendor.jobs.values()] == [True]


@pytest.mark.parametrize("why", ["cancel", "sweep", "webhook"])
async def test_a_verdict_of_a_kind_this_build_does_not_know_is_brought_to_its_end(harness: Harness, why: str) -> None:
    run = await of_a_kind_that_is_not_known_here(harness)
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.wake(run, why, LATEST)
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)


async def test_a_hint_for_an_ended_run_of_a_kind_this_build_does_not_know_is_given_up(harness: Harness) -> None:
    run = await of_a_kind_that_is_not_known_here(harness)
    await harness.ledger.objects.delete([record_key(run, "call-1-1-id")])
    await harness.ledger.write(run, Verdict.at(), Verdict("failed", Code.TIMEOUT))
    await harness.wake(run, "webhook", job=Job(1, "job1"))
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert len(harness.sent("wake")) == 1


async def test_a_replay_of_a_kind_this_build_does_not_know_is_not_charged_and_refused_when_it_is_late(
    harness: Harness,
) -> None:
    run, later = await failed_run(harness)
    harness.out = dataclasses.replace(harness.out, recipes={})
    harness.engine = harness.new_engine()
    await harness.wake(later, "sweep", later.run)
    await harness.drain()
    assert harness.state(run) == ("failed", 1, 1)
    await asyncio.sleep(1800)
    await harness.wake(later, "sweep", later.run)
    await harness.drain()
    assert "reopen_denied" in await harness.records(later)
    assert harness.state(run) == ("failed", 1, 1)


@pytest.mark.parametrize("number", [0, LATEST])
async def test_a_wake_for_a_kind_this_build_does_not_know_gives_no_verdict(harness: Harness, number: int) -> None:
    """A rolling deployment must not refund any task."""
    run = await harness.upload()
    now = harness.now()
    accepted = Accepted(kind="kind_of_tomorrow", params={}, inputs=(), created=now, deadline=now + 1800)
    await harness.ledger.write(run, Accepted.at(), accepted)
    await harness.say(run, Stage.WAKE, Wake("webhook"), number=number)
    await harness.say(run, Stage.CLEAN, Clean(), kind="kind_of_tomorrow")
    await harness.say(run, Stage.POLL, Poll((Job(1, "job1"),), int(now * 1000)), kind="kind_of_tomorrow")
    for _ in range(200):
        await harness.step()
        # Its deadline ends it, whatever kind it is.
        if harness.now() > now + 1600:
            break
    page = await harness.ledger.objects.list(f"ledger/{run.user}/{run.task}/")
    assert not [item.key for item in page.items if item.key.endswith("verdict")]
    assert harness.heard(run) == []
