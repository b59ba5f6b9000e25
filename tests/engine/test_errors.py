"""Errors say their class, and the class says what follows."""

from __future__ import annotations

import pytest

from messages.bodies import Body, Clean, Generate, Stage
from messages.codec import Header
from messages.codes import Code
from messages.errors import Permanent, Rejected, RetryClass, ScfWorkersError, Transient
from services.errors import (
    BadPicture,
    Denied,
    FetchRefused,
    Forbidden,
    NotFound,
    ObjectsDown,
    ResultUnusable,
    UploadFailed,
    VendorDown,
)
from services.objects.port import Result
from services.vendors.port import JobState
from tasks.ledger.records import Verdict
from tests.engine.fate import raises, waits
from tests.engine.standins import Create, Plan
from tests.engine.world import World
from transport.errors import BrokerDown

VIOLATION = Result(violation=True, suspect=False, label="Porn", score=95)
SUSPECT = Result(violation=False, suspect=True, label="Ads", score=75)
PLACES = {
    "clean": "objects.process",
    "generate": "vendor.upload",
    "collect": "files.get .*/3",
}
"""Stage -> where its work touches something outside."""


def copy_of(world: World, stage: str) -> Header:
    """The second message of a stage."""
    (found,) = [header for header in world.sent(stage) if header.seq == 1]
    return found


@pytest.mark.parametrize("stage", PLACES)
async def test_transient_spends_an_attempt_and_comes_again_after_a_backoff(world: World, stage: str) -> None:
    run = await world.order()
    world.fate.strike(PLACES[stage], raises(Transient("flicker")))
    await world.drain()
    await world.promise(run, "success")
    copy = copy_of(world, stage)
    assert (copy.attempt, copy.isolated) == (1, False)
    assert copy.not_before <= 2.0 * 1.2 * 1000
    assert len(world.vendor.paid) == 1
    assert await world.desk() == []


@pytest.mark.parametrize("stage", PLACES)
async def test_retry_after_is_honoured(world: World, stage: str) -> None:
    run = await world.order()
    world.fate.strike(PLACES[stage], raises(Transient("busy", retry_after=100.0)))
    await world.drain()
    await world.promise(run, "success")
    assert 100.0 <= copy_of(world, stage).not_before / 1000 <= 120.0


@pytest.mark.parametrize("stage", PLACES)
@pytest.mark.parametrize("error", [ObjectsDown, Denied, VendorDown, BrokerDown], ids=lambda error: error.__name__)
async def test_an_outage_is_a_snooze_and_spends_no_attempt(world: World, stage: str, error: type[Exception]) -> None:
    run = await world.order()
    world.fate.strike(PLACES[stage], *[raises(error("away"))] * 8)
    await world.drain()
    await world.promise(run, "success")
    assert {header.attempt for header in world.sent(stage)} == {0}
    assert copy_of(world, stage).not_before >= 15_000
    assert await world.desk() == []


@pytest.mark.parametrize("stage", [*PLACES, "poll", "dead"])
async def test_a_worker_that_the_store_refuses_fails_no_task(world: World, stage: str) -> None:
    """Its clock, its token, a policy: another worker's calls go through."""
    if stage == "dead":
        world.fate.strike("vendor.upload", raises(Permanent("never")))
    run = await world.order()
    delivery, consumer = await world.until(stage)
    world.fate.strike(r"^(ledger|objects)\.", *[raises(Denied("RequestTimeTooSkewed"))] * 50)
    await world.run(delivery, consumer)
    assert world.pauses.left((delivery.topic,)) > 0
    world.fate.clear()
    await world.drain()
    if stage == "dead":
        await world.promise(run, "failed", Code.INTERNAL)
    else:
        await world.promise(run, "success")
        assert await world.desk() == []


async def test_a_picture_that_the_store_refuses_by_itself_holds_up_no_other(world: World) -> None:
    run = await world.order()
    delivery, consumer = await world.until("clean")
    world.fate.strike(r"^objects\.", *[raises(Forbidden("AccessDenied"))] * 50)
    await world.run(delivery, consumer)
    assert world.pauses.left((delivery.topic,)) == 0
    world.fate.clear()
    await world.drain()
    assert copy_of(world, "clean").attempt == 0
    await world.promise(run, "success")


@pytest.mark.parametrize("stage", ["generate", "poll", "collect", "wake"])
async def test_a_worker_without_the_vendors_key_fails_no_task(world: World, stage: str) -> None:
    run = await world.order()
    if stage == "wake":
        await world.pass_by("poll")
        await world.wake(run)
    delivery, consumer = await world.until(stage)
    vendor = world.vendors.pop(world.vendor.name)
    await world.run(delivery, consumer)
    # The topics that others share go on: only looks at this vendor would fare no better.
    assert (world.pauses.left((delivery.topic,)) > 0) is (stage == "generate")
    world.vendors[world.vendor.name] = vendor
    await world.drain()
    await world.promise(run, "success")
    assert await world.desk() == []
    assert {sent.header.attempt for sent in world.wire.sent} == {0}


@pytest.mark.parametrize("stage", PLACES)
async def test_a_defect_is_tried_again_like_a_transient_error(world: World, stage: str) -> None:
    run = await world.order()
    world.fate.strike(PLACES[stage], raises(KeyError("our own mistake")))
    await world.drain()
    await world.promise(run, "success")
    assert copy_of(world, stage).attempt == 1


@pytest.mark.parametrize(("stage", "limit"), [("clean", 60), ("generate", 45), ("collect", 120)])
async def test_a_stage_that_hangs_is_cut_at_its_limit_and_tried_again(world: World, stage: str, limit: float) -> None:
    run = await world.order()
    world.fate.strike(PLACES[stage], waits(10_000))
    delivery, consumer = await world.until(stage)
    before = world.now()
    await world.run(delivery, consumer)
    assert world.now() - before == pytest.approx(limit, abs=1)
    await world.drain()
    await world.promise(run, "success")
    # Whatever it waited for lies outside, so nothing of the task's is spent.
    assert copy_of(world, stage).attempt == 0


async def test_a_poll_that_hangs_is_cut_at_fifteen_seconds(world: World) -> None:
    run = await world.order()
    world.fate.strike("vendor.query", waits(10_000))
    delivery, consumer = await world.until("poll")
    before = world.now()
    await world.run(delivery, consumer)
    assert world.now() - before == pytest.approx(15, abs=1)
    await world.drain()
    await world.promise(run, "success")


@pytest.mark.parametrize("stage", PLACES)
async def test_attempts_spent_lead_through_a_dead_letter_to_failed_once(world: World, stage: str) -> None:
    run = await world.order()
    world.fate.strike(PLACES[stage], *[raises(Transient("flicker"))] * 50)
    await world.drain()
    await world.promise(run, "failed", Code.INTERNAL)
    assert [header.attempt for header in world.sent(stage)] == [0, 1, 2, 3, 4]
    (letter,) = await world.desk()
    assert (letter["reason"], letter["stage"], letter["error"]) == ("attempts", stage, "Transient")
    assert letter["verdict"] == "reject"
    assert world.heard(run) == ["failed"]
    assert await world.staged(run) == []
    assert await world.outputs(run) == []


@pytest.mark.parametrize("stage", PLACES)
async def test_permanent_is_a_dead_letter_at_once(world: World, stage: str) -> None:
    run = await world.order()
    world.fate.strike(PLACES[stage], raises(Permanent("never")))
    await world.drain()
    await world.promise(run, "failed", Code.INTERNAL)
    assert [header.attempt for header in world.sent(stage)] == [0]
    (letter,) = await world.desk()
    assert (letter["reason"], letter["stage"], letter["error"]) == ("permanent", stage, "Permanent")


@pytest.mark.parametrize("stage", ["clean", "generate"])
async def test_rejected_is_failed_straight_away_and_nothing_to_replay(world: World, stage: str) -> None:
    run = await world.order()
    world.fate.strike(PLACES[stage], raises(Rejected("no picture", code=Code.BAD_PICTURE)))
    await world.drain()
    await world.promise(run, "failed", Code.BAD_PICTURE)
    assert await world.desk() == []
    assert world.sent("dead") == []
    assert world.heard(run) == ["failed"]


async def test_a_result_that_is_no_picture_is_the_vendors_fault(world: World) -> None:
    run = await world.order()
    world.fate.strike("files.get .*/3", *[raises(BadPicture("no picture"))] * 5)
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_FAILED)
    assert [letter["reason"] for letter in await world.desk()] == ["attempts"]
    assert await world.staged(run) == []


async def test_a_text_under_a_picture_name_is_told_in_chinese_and_refunded(world: World) -> None:
    run = await world.upload(body=b"not a picture at all")
    await world.take_in(run)
    await world.drain()
    await world.promise(run, "failed", Code.BAD_PICTURE)
    assert world.backend.heard[0].message.startswith("图片无法识别")
    assert world.vendor.paid == []


async def test_a_picture_replaced_after_it_was_accepted_fails_the_run(world: World) -> None:
    run = await world.order()
    key = f"input/{run.user}/{run.task}/original.jpg"
    body = (await world.data.get(key)).body
    await world.data.put(key, body + b"another")
    await world.drain()
    await world.promise(run, "failed", Code.INPUT_CHANGED)
    assert await world.staged(run) == []


async def test_an_input_that_is_gone_fails_the_run(world: World) -> None:
    run = await world.order()
    await world.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    await world.drain()
    await world.promise(run, "failed", Code.NOT_UPLOADED)


async def test_a_refused_create_is_recorded_and_fails_the_run(world: World) -> None:
    world.vendor.creates.append(Create(accepted=False, answer="refused"))
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_REFUSED)
    assert (await world.records(run))["call-1-1-end"]["how"] == "not_accepted"
    assert world.vendor.paid == []


async def test_a_poll_that_fails_by_itself_leaves_the_job_as_it_is(world: World) -> None:
    run = await world.order()
    world.fate.strike("vendor.query", *[raises(KeyError("our own mistake"))] * 5)
    await world.drain()
    assert "verdict" not in await world.records(run)
    (letter,) = await world.desk()
    assert (letter["stage"], letter["verdict"]) == ("poll", "leave")
    await world.wake(run, "sweep")
    await world.drain()
    await world.wake(run, "sweep")
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


@pytest.mark.parametrize("error", [VendorDown("401"), VendorDown("gateway"), VendorDown("busy", retry_after=200)])
async def test_a_flickering_vendor_on_a_poll_is_a_snooze(world: World, error: VendorDown) -> None:
    run = await world.order()
    world.fate.strike("vendor.query", *[raises(error)] * 6)
    await world.drain()
    await world.promise(run, "success")
    assert {header.attempt for header in world.sent("poll")} == {0}
    assert len(world.vendor.paid) == 1


@pytest.mark.parametrize("looker", ["poll", "wake", "collect"])
async def test_a_vendor_that_does_not_know_a_job_just_now_fails_no_run(world: World, looker: str) -> None:
    """A replica that lags, or another key during a rotation: the job is alive and paid."""
    world.vendor.plans.append(Plan(looks=2))
    run = await world.order()
    if looker == "wake":
        await world.pass_by("poll")
        await world.wake(run)
    delivery, consumer = await world.until(looker)
    known = dict(world.vendor.jobs)
    world.vendor.jobs.clear()
    await world.run(delivery, consumer)
    world.vendor.jobs.update(known)
    await world.drain()
    await world.promise(run, "success")
    assert world.vendor.paid == ["job1"]
    assert await world.desk() == []


@pytest.mark.parametrize("looker", ["poll", "collect"])
async def test_a_job_that_the_vendor_never_knows_again_ends_with_the_deadline(world: World, looker: str) -> None:
    run = await world.order()
    delivery, consumer = await world.until(looker)
    world.vendor.forgets = True
    await world.run(delivery, consumer)
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert len([name for name in await world.records(run) if name.startswith("begun-")]) < 50


@pytest.mark.parametrize(("stage", "body"), [(Stage.CLEAN, Clean()), (Stage.GENERATE, Generate())])
async def test_a_dead_letter_from_before_the_job_is_a_desk_record_only_while_the_job_lives(
    world: World, stage: Stage, body: Body
) -> None:
    run = await world.order()
    poll, consumer = await world.until("poll")
    world.ledger.cache.clear()
    world.fate.strike("ledger.get .*/(cleaned|call-1-1)$", raises(Permanent("never")))
    await world.say(run, stage, body, seq=1, kind="model_pose12")
    await world.pass_by("dead")
    await consumer.release(poll)
    await world.drain()
    await world.promise(run, "success")
    (letter,) = await world.desk()
    assert (letter["stage"], letter["verdict"]) == (stage, "leave")
    assert world.heard(run) == ["success"]
    assert len(world.vendor.paid) == 1


async def test_a_dead_letter_of_a_run_with_a_verdict_only_finishes(world: World) -> None:
    run = await world.order()
    world.fate.strike("objects.process", raises(Permanent("never")))
    await world.pass_by("dead")
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)
    assert [letter["verdict"] for letter in await world.desk()] == ["finish"]


async def test_a_dead_letter_handled_twice_is_one_desk_record_and_one_verdict(world: World) -> None:
    run = await world.order()
    world.fate.strike("objects.process", raises(Permanent("never")))
    delivery, consumer = await world.until("dead")
    await world.wire.publish(delivery.topic, delivery.payload)
    await world.run(delivery, consumer)
    await world.run(delivery, consumer)
    await world.drain()
    await world.promise(run, "failed", Code.INTERNAL)
    assert len(await world.desk()) == 1
    assert world.heard(run) == ["failed"]


@pytest.mark.parametrize(
    "error", [ObjectsDown("away"), Transient("flicker"), Permanent("never"), KeyError("our own mistake")]
)
async def test_failure_itself_never_dead_letters_it_snoozes(world: World, error: Exception) -> None:
    run = await world.order()
    world.fate.strike("objects.process", raises(Permanent("never")))
    # A write that fails at once is made three times in each turn.
    world.fate.strike("ledger.put_new dead/", *[raises(error)] * (27 if isinstance(error, ObjectsDown) else 9))
    await world.drain()
    await world.promise(run, "failed", Code.INTERNAL)
    letters = world.sent("dead")
    # From the fifth turn on, a record as short as can be is tried too, where nothing is away.
    turns = 10 if isinstance(error, ObjectsDown) else 7
    assert [letter.seq for letter in letters] == list(range(turns))
    assert {letter.attempt for letter in letters} == {0}
    assert len(await world.desk()) == 1


@pytest.mark.parametrize("end", [Plan(looks=2, end=JobState.FAILED), Plan(looks=0, end=JobState.FAILED)])
async def test_a_job_that_failed_is_a_failed_verdict(world: World, end: Plan) -> None:
    world.vendor.plans.append(end)
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_FAILED)
    assert (await world.records(run))["call-1-1-end"]["how"] == "failed"
    assert [letter["reason"] for letter in await world.desk()] == ["vendor"]
    assert await world.staged(run) == []
    assert len(world.vendor.paid) == 1


@pytest.mark.parametrize("files", [0, 1, 11, 13])
async def test_eleven_of_twelve_is_a_failure_with_nothing_shown(world: World, files: int) -> None:
    world.vendor.plans.append(Plan(files=files))
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    assert await world.outputs(run) == []
    assert await world.staged(run) == []
    assert world.heard(run) == ["failed"]


@pytest.mark.parametrize("finding", [VIOLATION, SUSPECT], ids=["violation", "suspect"])
async def test_a_violation_found_by_the_audit_is_failed_with_the_staging_gone(world: World, finding: Result) -> None:
    world.findings["frame_07.jpg"] = finding
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert world.backend.heard[0].message == "内容违规"
    assert await world.staged(run) == []
    assert await world.outputs(run) == []
    assert await world.desk() == []


async def test_a_violation_is_found_where_the_clean_product_is_the_result(world: World) -> None:
    world.findings["input_01.jpg"] = VIOLATION
    run = await world.order("basic_clean")
    await world.drain()
    await world.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert await world.staged(run) == []


@pytest.mark.parametrize(
    "error", [FetchRefused("another host"), NotFound("gone"), UploadFailed("not taken"), ResultUnusable("a 400")]
)
async def test_leaves_of_the_tree_act_as_their_class_says(world: World, error: ScfWorkersError) -> None:
    run = await world.order()
    world.fate.strike("files.get .*/2", raises(error))
    await world.drain()
    if error.retry is RetryClass.TRANSIENT:
        await world.promise(run, "success")
    else:
        # What a vendor's file does wrong is not told to the user as if the photo were at fault.
        code = Code.VENDOR_FAILED if isinstance(error, FetchRefused) else error.code
        await world.promise(run, "failed", code)


async def test_an_error_in_an_effect_is_followed_by_a_copy_never_lost(world: World) -> None:
    run = await world.order()
    world.fate.strike("ledger.put_new .*/verdict$", *[raises(ObjectsDown("away"))] * 3)
    await world.drain()
    await world.promise(run, "success")
    assert {header.attempt for header in world.sent("collect")} == {0}


async def test_an_effect_whose_answer_is_lost_is_what_is_stored(world: World) -> None:
    """A 409 or no answer is read back: a winner never thinks that it lost."""
    run = await world.order()
    for name in ("accepted", "begun", "cleaned", "call-1-1", "call-1-1-id", "verdict", "delivered"):
        world.fate.strike(f"ledger.put_new .*/{name}[^/]*$", raises(ObjectsDown("cut")), done=True)
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1
    assert world.heard(run) == ["success"]
    assert {sent.header.attempt for sent in world.wire.sent} == {0}
