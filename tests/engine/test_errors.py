"""Every error has a class, and the class decides the outcome."""

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
from tests.engine.fault_injector import raises, waits
from tests.engine.harness import Harness
from tests.engine.standins import Create, Plan
from transport.errors import BrokerDown

VIOLATION = Result(violation=True, suspect=False, label="Porn", score=95)
SUSPECT = Result(violation=False, suspect=True, label="Ads", score=75)
PLACES = {
    "clean": "objects.process",
    "generate": "vendor.upload",
    "collect": "files.get .*/3",
}
"""Stage -> places where its work reaches external services."""


def copy_of(harness: Harness, stage: str) -> Header:
    """The second message of a stage."""
    (found,) = [header for header in harness.sent(stage) if header.seq == 1]
    return found


@pytest.mark.parametrize("stage", PLACES)
async def test_transient_spends_an_attempt_and_comes_again_after_a_backoff(harness: Harness, stage: str) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], raises(Transient("flicker")))
    await harness.drain()
    await harness.promise(run, "success")
    copy = copy_of(harness, stage)
    assert (copy.attempt, copy.isolated) == (1, False)
    assert copy.not_before <= 2.0 * 1.2 * 1000
    assert len(harness.vendor.paid) == 1
    assert await harness.dead_letters() == []


@pytest.mark.parametrize("stage", PLACES)
async def test_retry_after_is_honoured(harness: Harness, stage: str) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], raises(Transient("busy", retry_after=100.0)))
    await harness.drain()
    await harness.promise(run, "success")
    assert 100.0 <= copy_of(harness, stage).not_before / 1000 <= 120.0


@pytest.mark.parametrize("stage", PLACES)
@pytest.mark.parametrize("error", [ObjectsDown, Denied, VendorDown, BrokerDown], ids=lambda error: error.__name__)
async def test_an_outage_is_a_snooze_and_spends_no_attempt(
    harness: Harness, stage: str, error: type[Exception]
) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], *[raises(error("away"))] * 8)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent(stage)} == {0}
    assert copy_of(harness, stage).not_before >= 15_000
    assert await harness.dead_letters() == []


@pytest.mark.parametrize("stage", [*PLACES, "poll", "dead"])
async def test_a_worker_that_the_store_refuses_fails_no_task(harness: Harness, stage: str) -> None:
    """Its clock, its token, a policy: another worker's calls go through."""
    if stage == "dead":
        harness.injector.strike("vendor.upload", raises(Permanent("never")))
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    harness.injector.strike(r"^(ledger|objects)\.", *[raises(Denied("RequestTimeTooSkewed"))] * 50)
    await harness.run(delivery, consumer)
    assert harness.pauses.left((delivery.topic,)) > 0
    harness.injector.clear()
    await harness.drain()
    if stage == "dead":
        await harness.promise(run, "failed", Code.INTERNAL)
    else:
        await harness.promise(run, "success")
        assert await harness.dead_letters() == []


async def test_a_picture_that_the_store_refuses_by_itself_holds_up_no_other(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("clean")
    harness.injector.strike(r"^objects\.", *[raises(Forbidden("AccessDenied"))] * 50)
    await harness.run(delivery, consumer)
    assert harness.pauses.left((delivery.topic,)) == 0
    harness.injector.clear()
    await harness.drain()
    assert copy_of(harness, "clean").attempt == 0
    await harness.promise(run, "success")


@pytest.mark.parametrize("stage", ["generate", "poll", "collect", "wake"])
async def test_a_worker_without_the_vendors_key_fails_no_task(harness: Harness, stage: str) -> None:
    run = await harness.order()
    if stage == "wake":
        await harness.pass_by("poll")
        await harness.wake(run)
    delivery, consumer = await harness.until(stage)
    vendor = harness.vendors.pop(harness.vendor.name)
    await harness.run(delivery, consumer)
    # The topics that others share go on: only looks at this vendor would fare no better.
    assert (harness.pauses.left((delivery.topic,)) > 0) is (stage == "generate")
    harness.vendors[harness.vendor.name] = vendor
    await harness.drain()
    await harness.promise(run, "success")
    assert await harness.dead_letters() == []
    assert {sent.header.attempt for sent in harness.wire.sent} == {0}


@pytest.mark.parametrize("stage", PLACES)
async def test_a_defect_is_tried_again_like_a_transient_error(harness: Harness, stage: str) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], raises(KeyError("our own mistake")))
    await harness.drain()
    await harness.promise(run, "success")
    assert copy_of(harness, stage).attempt == 1


@pytest.mark.parametrize(("stage", "limit"), [("clean", 60), ("generate", 45), ("collect", 120)])
async def test_a_stage_that_hangs_is_cut_at_its_limit_and_tried_again(
    harness: Harness, stage: str, limit: float
) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], waits(10_000))
    delivery, consumer = await harness.until(stage)
    before = harness.now()
    await harness.run(delivery, consumer)
    assert harness.now() - before == pytest.approx(limit, abs=1)
    await harness.drain()
    await harness.promise(run, "success")
    # It waited for an external service, so no attempt is spent.
    assert copy_of(harness, stage).attempt == 0


async def test_a_poll_that_hangs_is_cut_at_fifteen_seconds(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("vendor.query", waits(10_000))
    delivery, consumer = await harness.until("poll")
    before = harness.now()
    await harness.run(delivery, consumer)
    assert harness.now() - before == pytest.approx(15, abs=1)
    await harness.drain()
    await harness.promise(run, "success")


@pytest.mark.parametrize("stage", PLACES)
async def test_attempts_spent_lead_through_a_dead_letter_to_failed_once(harness: Harness, stage: str) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], *[raises(Transient("flicker"))] * 50)
    await harness.drain()
    await harness.promise(run, "failed", Code.INTERNAL)
    assert [header.attempt for header in harness.sent(stage)] == [0, 1, 2, 3, 4]
    (letter,) = await harness.dead_letters()
    assert (letter["reason"], letter["stage"], letter["error"]) == ("attempts", stage, "Transient")
    assert letter["verdict"] == "fail"
    assert harness.heard(run) == ["failed"]
    assert await harness.staged(run) == []
    assert await harness.outputs(run) == []


@pytest.mark.parametrize("stage", PLACES)
async def test_permanent_is_a_dead_letter_at_once(harness: Harness, stage: str) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], raises(Permanent("never")))
    await harness.drain()
    await harness.promise(run, "failed", Code.INTERNAL)
    assert [header.attempt for header in harness.sent(stage)] == [0]
    (letter,) = await harness.dead_letters()
    assert (letter["reason"], letter["stage"], letter["error"]) == ("permanent", stage, "Permanent")


@pytest.mark.parametrize("stage", ["clean", "generate"])
async def test_rejected_is_failed_straight_away_and_nothing_to_replay(harness: Harness, stage: str) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], raises(Rejected("no picture", code=Code.BAD_PICTURE)))
    await harness.drain()
    await harness.promise(run, "failed", Code.BAD_PICTURE)
    assert await harness.dead_letters() == []
    assert harness.sent("dead") == []
    assert harness.heard(run) == ["failed"]


async def test_a_result_that_is_no_picture_is_the_vendors_fault(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("files.get .*/3", *[raises(BadPicture("no picture"))] * 5)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert [letter["reason"] for letter in await harness.dead_letters()] == ["attempts"]
    assert await harness.staged(run) == []


async def test_a_text_under_a_picture_name_is_told_in_chinese_and_refunded(harness: Harness) -> None:
    run = await harness.upload(body=b"not a picture at all")
    await harness.take_in(run)
    await harness.drain()
    await harness.promise(run, "failed", Code.BAD_PICTURE)
    assert harness.backend.heard[0].message.startswith("图片无法识别")
    assert harness.vendor.paid == []


async def test_a_picture_replaced_after_it_was_accepted_fails_the_run(harness: Harness) -> None:
    run = await harness.order()
    key = f"input/{run.user}/{run.task}/original.jpg"
    body = (await harness.data.get(key)).body
    await harness.data.put(key, body + b"another")
    await harness.drain()
    await harness.promise(run, "failed", Code.INPUT_CHANGED)
    assert await harness.staged(run) == []


async def test_an_input_that_is_gone_fails_the_run(harness: Harness) -> None:
    run = await harness.order()
    await harness.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    await harness.drain()
    await harness.promise(run, "failed", Code.NOT_UPLOADED)


async def test_a_refused_create_is_recorded_and_fails_the_run(harness: Harness) -> None:
    harness.vendor.creates.append(Create(accepted=False, answer="refused"))
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_REFUSED)
    assert (await harness.records(run))["call-1-1-end"]["how"] == "not_accepted"
    assert harness.vendor.paid == []


async def test_a_poll_that_fails_by_itself_leaves_the_job_as_it_is(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("vendor.query", *[raises(KeyError("our own mistake"))] * 5)
    await harness.drain()
    assert "verdict" not in await harness.records(run)
    (letter,) = await harness.dead_letters()
    assert (letter["stage"], letter["verdict"]) == ("poll", "leave")
    await harness.wake(run, "sweep")
    await harness.drain()
    await harness.wake(run, "sweep")
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


@pytest.mark.parametrize("error", [VendorDown("401"), VendorDown("gateway"), VendorDown("busy", retry_after=200)])
async def test_a_flickering_vendor_on_a_poll_is_a_snooze(harness: Harness, error: VendorDown) -> None:
    run = await harness.order()
    harness.injector.strike("vendor.query", *[raises(error)] * 6)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("poll")} == {0}
    assert len(harness.vendor.paid) == 1


@pytest.mark.parametrize("looker", ["poll", "wake", "collect"])
async def test_a_vendor_that_does_not_know_a_job_just_now_fails_no_run(harness: Harness, looker: str) -> None:
    """A replica that lags, or another key during a rotation: the job is alive and paid."""
    harness.vendor.plans.append(Plan(looks=2))
    run = await harness.order()
    if looker == "wake":
        await harness.pass_by("poll")
        await harness.wake(run)
    delivery, consumer = await harness.until(looker)
    known = dict(harness.vendor.jobs)
    harness.vendor.jobs.clear()
    await harness.run(delivery, consumer)
    harness.vendor.jobs.update(known)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]
    assert await harness.dead_letters() == []


@pytest.mark.parametrize("looker", ["poll", "collect"])
async def test_a_job_that_the_vendor_never_knows_again_ends_with_the_deadline(harness: Harness, looker: str) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(looker)
    harness.vendor.forgets = True
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert len([name for name in await harness.records(run) if name.startswith("begun-")]) < 50


@pytest.mark.parametrize(("stage", "body"), [(Stage.CLEAN, Clean()), (Stage.GENERATE, Generate())])
async def test_a_dead_letter_from_before_the_job_is_a_desk_record_only_while_the_job_lives(
    harness: Harness, stage: Stage, body: Body
) -> None:
    run = await harness.order()
    poll, consumer = await harness.until("poll")
    harness.ledger.cache.clear()
    harness.injector.strike("ledger.get .*/(cleaned|call-1-1)$", raises(Permanent("never")))
    await harness.say(run, stage, body, seq=1, kind="model_pose12")
    await harness.pass_by("dead")
    await consumer.release(poll)
    await harness.drain()
    await harness.promise(run, "success")
    (letter,) = await harness.dead_letters()
    assert (letter["stage"], letter["verdict"]) == (stage, "wake")
    assert harness.heard(run) == ["success"]
    assert len(harness.vendor.paid) == 1


async def test_a_dead_letter_of_a_run_with_a_verdict_only_finishes(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("objects.process", raises(Permanent("never")))
    await harness.pass_by("dead")
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert [letter["verdict"] for letter in await harness.dead_letters()] == ["finish"]


async def test_a_dead_letter_handled_twice_is_one_desk_record_and_one_verdict(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("objects.process", raises(Permanent("never")))
    delivery, consumer = await harness.until("dead")
    await harness.wire.publish(delivery.topic, delivery.payload)
    await harness.run(delivery, consumer)
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "failed", Code.INTERNAL)
    assert len(await harness.dead_letters()) == 1
    assert harness.heard(run) == ["failed"]


@pytest.mark.parametrize(
    "error", [ObjectsDown("away"), Transient("flicker"), Permanent("never"), KeyError("our own mistake")]
)
async def test_failure_itself_never_dead_letters_it_snoozes(harness: Harness, error: Exception) -> None:
    run = await harness.order()
    harness.injector.strike("objects.process", raises(Permanent("never")))
    # A write that fails at once is made three times in each attempt to store.
    harness.injector.strike("ledger.put_new dead/", *[raises(error)] * (27 if isinstance(error, ObjectsDown) else 9))
    await harness.drain()
    await harness.promise(run, "failed", Code.INTERNAL)
    letters = harness.sent("dead")
    # From the fifth turn on, a record as short as can be is tried too, where nothing is away.
    turns = 10 if isinstance(error, ObjectsDown) else 7
    assert [letter.seq for letter in letters] == list(range(turns))
    assert {letter.attempt for letter in letters} == {0}
    assert len(await harness.dead_letters()) == 1


@pytest.mark.parametrize("end", [Plan(looks=2, end=JobState.FAILED), Plan(looks=0, end=JobState.FAILED)])
async def test_a_job_that_failed_is_a_failed_verdict(harness: Harness, end: Plan) -> None:
    harness.vendor.plans.append(end)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert (await harness.records(run))["call-1-1-end"]["how"] == "failed"
    assert [letter["reason"] for letter in await harness.dead_letters()] == ["vendor"]
    assert await harness.staged(run) == []
    assert len(harness.vendor.paid) == 1


@pytest.mark.parametrize("files", [0, 1, 11, 13])
async def test_eleven_of_twelve_is_a_failure_with_nothing_shown(harness: Harness, files: int) -> None:
    harness.vendor.plans.append(Plan(files=files))
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    assert await harness.outputs(run) == []
    assert await harness.staged(run) == []
    assert harness.heard(run) == ["failed"]


@pytest.mark.parametrize("finding", [VIOLATION, SUSPECT], ids=["violation", "suspect"])
async def test_a_violation_found_by_the_audit_is_failed_with_the_staging_gone(
    harness: Harness, finding: Result
) -> None:
    harness.findings["frame_07.jpg"] = finding
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert harness.backend.heard[0].message == "内容违规"
    assert await harness.staged(run) == []
    assert await harness.outputs(run) == []
    assert await harness.dead_letters() == []


async def test_a_violation_is_found_where_the_clean_product_is_the_result(harness: Harness) -> None:
    harness.findings["input_01.jpg"] = VIOLATION
    run = await harness.order("basic_clean")
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert await harness.staged(run) == []


@pytest.mark.parametrize(
    "error", [FetchRefused("another host"), NotFound("gone"), UploadFailed("not taken"), ResultUnusable("a 400")]
)
async def test_leaves_of_the_tree_act_as_their_class_says(harness: Harness, error: ScfWorkersError) -> None:
    run = await harness.order()
    harness.injector.strike("files.get .*/2", raises(error))
    await harness.drain()
    if error.retry is RetryClass.TRANSIENT:
        await harness.promise(run, "success")
    else:
        # A fault of a vendor's file is not reported to the user as a fault of the photo.
        code = Code.VENDOR_FAILED if isinstance(error, FetchRefused) else error.code
        await harness.promise(run, "failed", code)


async def test_an_error_in_an_effect_is_followed_by_a_copy_never_lost(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/verdict$", *[raises(ObjectsDown("away"))] * 3)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("collect")} == {0}


async def test_an_effect_whose_answer_is_lost_is_what_is_stored(harness: Harness) -> None:
    """A 409 or no answer is read back: a winner never thinks that it lost."""
    run = await harness.order()
    for name in ("accepted", "begun", "cleaned", "call-1-1", "call-1-1-id", "verdict", "delivered"):
        harness.injector.strike(f"ledger.put_new .*/{name}[^/]*$", raises(ObjectsDown("cut")), done=True)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1
    assert harness.heard(run) == ["success"]
    assert {sent.header.attempt for sent in harness.wire.sent} == {0}
