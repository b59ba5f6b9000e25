"""A message is a hint with an address: whatever a forged one says, facts come from the ledger, vendor and backend."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from messages.bodies import Clean, Collect, Dead, Generate, Job, Notify, Poll, Reason, Stage, Wake
from messages.codec import SCHEMA, Header, Message, Priority, encode
from messages.codes import Code
from messages.keys import RunId
from messages.topics import dead_letter_topic
from services.backend import Callback, StepState
from services.vendors.port import JobState
from tasks.wakes import LATEST
from tests.engine.fault_injector import raises
from tests.engine.harness import KEYS, USER, Harness
from tests.engine.standins import Create, Plan

KIND = "model_pose12"
LONG = Plan(looks=10**6)
BODIES = {
    Stage.WAKE: Wake("cancel", None, 1),
    Stage.CLEAN: Clean(),
    Stage.GENERATE: Generate(),
    Stage.COLLECT: Collect(Job(1, "job1")),
    Stage.POLL: Poll((Job(1, "job1"),), 0),
    Stage.NOTIFY: Notify(1),
}
OF_A_RUN = [
    (Stage.POLL, 1),
    (Stage.POLL, 8),
    (Stage.CLEAN, 9),
    (Stage.GENERATE, 9),
    (Stage.COLLECT, 9),
    (Stage.NOTIFY, 9),
]


async def at_work(harness: Harness) -> RunId:
    """A task whose job runs on until a look: its poll message is lost."""
    harness.vendor.plans.append(LONG)
    run = await harness.order()
    await harness.wire.lose(*await harness.until("poll"))
    return run


async def untouched(harness: Harness, run: RunId) -> None:
    """Check that nothing was decided about the task, and that no result is visible."""
    assert "verdict" not in await harness.records(run)
    assert harness.heard(run) == []
    assert harness.state(run) == ("pending", 1, 0)
    assert await harness.outputs(run) == []


async def finishes(harness: Harness, run: RunId) -> None:
    """Check that the task goes on from here to its success."""
    for job in harness.vendor.jobs.values():
        job.plan = Plan(looks=0)
    await harness.wake(run)
    await harness.drain()
    await harness.promise(run, "success")


# ---- deadlines and ages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "seq"), OF_A_RUN)
async def test_a_deadline_that_has_passed_in_a_message_alone_ends_nothing(
    harness: Harness, stage: Stage, seq: int
) -> None:
    run = await at_work(harness)
    await harness.say(run, stage, BODIES[stage], seq=seq, kind=KIND, deadline=1)
    await asyncio.sleep(1)
    await harness.step()
    await untouched(harness, run)
    assert not harness.vendor.jobs["job1"].cancelled
    await finishes(harness, run)


async def test_what_follows_a_message_has_the_deadline_kind_and_priority_of_the_ledger(harness: Harness) -> None:
    run = await harness.order()
    true = await harness.until("clean")
    honest = harness.sent("clean")[0]
    await harness.wire.lose(*true)
    await harness.say(run, Stage.CLEAN, Clean(), kind="basic_clean", deadline=1, priority=Priority.LOW)
    await harness.pass_by("generate")
    made = harness.sent("generate")[0]
    assert (made.kind, made.priority) == (KIND, Priority.NORMAL)
    assert made.deadline_at == honest.deadline_at
    await harness.drain()
    await harness.promise(run, "success")


@pytest.mark.parametrize("number", [0, LATEST])
async def test_a_wake_with_an_age_of_years_refunds_no_task_that_was_sold_a_minute_ago(
    harness: Harness, number: int
) -> None:
    run = await harness.upload()
    await harness.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    await harness.wake(run, "cancel", number, since=1)
    await harness.drain()
    await untouched(harness, run)


NOT_SAID = {
    "no answer": None,
    "no user": StepState("", "", 1.0),
    "no time": StepState("", USER, 0.0),
}


@pytest.mark.parametrize("state", NOT_SAID)
@pytest.mark.parametrize("listed", [True, False])
async def test_what_its_state_leaves_out_the_backends_list_must_say(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, state: str, *, listed: bool
) -> None:
    async def answer(_task: str, _step: int) -> StepState | None:
        return NOT_SAID[state]

    run = await harness.upload()
    await harness.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    await asyncio.sleep(harness.out.policy.upload_limit_s)
    monkeypatch.setattr(harness.backend, "state", answer)
    other = run if listed else msgspec.structs.replace(run, user="somebody-else")
    await harness.wake(other, "cancel", since=1)
    await harness.drain()
    assert harness.state(run) == (("failed", 1, 1) if listed else ("pending", 1, 0))


@pytest.mark.parametrize("end", ["success", "cancelled"])
async def test_a_task_that_the_backend_has_ended_is_not_failed_for_its_upload(harness: Harness, end: str) -> None:
    run = await harness.upload()
    await harness.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    if end == "cancelled":
        harness.backend.book.cancel(run.task)
    else:
        results = (f"output/{run.user}/{run.task}/frame_01.jpg",)
        await harness.backend.deliver(Callback(task=run.task, status="success", outputs=results))
    await asyncio.sleep(harness.out.policy.upload_limit_s)
    await harness.wake(run, "cancel", since=1)
    await harness.drain()
    assert await harness.records(run) == {}


async def test_a_notify_with_an_age_of_years_gives_up_no_callback(harness: Harness) -> None:
    run = await harness.order()
    await harness.until("collect")
    await harness.say(run, Stage.NOTIFY, Notify(1), seq=0)
    await harness.step()
    assert await harness.dead_letters() == []


# ---- another user's, another run's, nobody's ---------------------------------------------------------------------


async def test_a_wake_under_a_false_user_neither_refunds_nor_lets_results_be_shown(harness: Harness) -> None:
    run = await at_work(harness)
    await asyncio.sleep(harness.out.policy.upload_limit_s)
    false = msgspec.structs.replace(run, user="somebody-else")
    # The ledger of the true task is old enough too; only the user is wrong.
    await harness.wake(false, "cancel", since=1)
    await harness.step()
    assert await harness.records(false) == {}
    await untouched(harness, run)


@pytest.mark.parametrize("stage", BODIES)
async def test_run_seven_of_a_live_task_fails_nothing(harness: Harness, stage: Stage) -> None:
    run = await at_work(harness)
    await harness.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    await harness.say(run, stage, BODIES[stage], number=7, kind=KIND, deadline=1)
    await asyncio.sleep(harness.out.policy.upload_limit_s)
    await harness.step()
    while harness.wire.open:
        await harness.step()
    await untouched(harness, run)
    seventh = msgspec.structs.replace(run, run=7)
    # A wake that comes late is marked: it may have killed a process.
    assert not [name for name in await harness.records(seventh) if not name.startswith("begun-wake")]
    assert [letter["verdict"] for letter in await harness.dead_letters()] in ([], ["leave"])


@pytest.mark.parametrize("stage", [Stage.CLEAN, Stage.GENERATE, Stage.COLLECT, Stage.POLL])
async def test_a_message_of_a_task_that_nobody_accepted_leaves_no_trace_in_its_run(
    harness: Harness, stage: Stage
) -> None:
    """A mark of it would make the engine reject the task's own first message."""
    run = await harness.upload()
    await harness.say(run, stage, BODIES[stage], kind=KIND)
    await harness.drain()
    await untouched(harness, run)
    assert await harness.records(run) == {}
    assert await harness.take_in(run) == "accepted"
    await harness.drain()
    await harness.promise(run, "success")


# ---- jobs --------------------------------------------------------------------------------------------------------


async def two_tasks(harness: Harness) -> tuple[RunId, RunId]:
    """A victim whose job1 has twelve pictures ready, and a task of another user with a job2 at work."""
    harness.vendor.plans.extend([Plan(looks=0), LONG])
    victim = await harness.order(user="victim")
    await harness.wire.lose(*await harness.until("poll"))
    thief = await harness.order(user="thief")
    await harness.wire.lose(*await harness.until("poll"))
    return victim, thief


@pytest.mark.parametrize("n", [1, 2])
async def test_a_collect_that_names_another_users_job_delivers_nothing(harness: Harness, n: int) -> None:
    victim, thief = await two_tasks(harness)
    await harness.say(thief, Stage.COLLECT, Collect(Job(n, "job1")), seq=50, kind=KIND)
    await harness.drain()
    await untouched(harness, thief)
    assert harness.injector.count("files.get") == 0
    await finishes(harness, victim)


@pytest.mark.parametrize("seq", [1, 8])
@pytest.mark.parametrize("end", [JobState.SUCCESS, JobState.FAILED])
async def test_a_poll_that_names_another_users_job_neither_collects_nor_fails(
    harness: Harness, end: JobState, seq: int
) -> None:
    _, thief = await two_tasks(harness)
    harness.vendor.jobs["job1"].plan.end = end
    await harness.say(thief, Stage.POLL, Poll((Job(1, "job1"),), 0), seq=seq, kind=KIND)
    await harness.step()
    await untouched(harness, thief)
    assert "call-1-1-end" not in await harness.records(thief)
    assert harness.sent("collect") == harness.sent("dead") == []


async def test_a_poll_with_unsaved_ids_writes_none_for_a_call_that_was_never_made(harness: Harness) -> None:
    run = await harness.order()
    await harness.until("generate")
    await harness.say(run, Stage.POLL, Poll((Job(1, "job1"), Job(2, "job9")), 0, unsaved=True), seq=1, kind=KIND)
    await harness.step()
    assert not [name for name in await harness.records(run) if name.endswith("-id")]


@pytest.mark.parametrize("job", ["nobody-knows", "job1"])
async def test_an_unsaved_id_is_written_only_where_the_vendor_bears_it_out(harness: Harness, job: str) -> None:
    """An open call of the thief's own, and an id that the vendor does not know, or made for the victim."""
    await harness.order(user="victim")
    await harness.wire.lose(*await harness.until("poll"))
    harness.vendor.creates.append(Create(answer="lost"))
    thief = await harness.order(user="thief")
    await harness.pass_by("generate", 1)
    await harness.say(thief, Stage.POLL, Poll((Job(1, job),), 0, unsaved=True), seq=1, kind=KIND)
    delivery, consumer = await harness.until("poll")
    await harness.run(delivery, consumer)
    assert "call-1-1-id" not in await harness.records(thief)


async def test_a_generate_of_a_slot_that_was_never_sold_pays_nothing(harness: Harness) -> None:
    run = await at_work(harness)
    await harness.say(run, Stage.GENERATE, Generate(2), kind=KIND)
    await harness.step()
    assert len(harness.vendor.paid) == 1
    await untouched(harness, run)


async def test_a_generate_that_comes_before_clean_is_done_fails_nothing(harness: Harness) -> None:
    run = await harness.order()
    held, consumer = await harness.until("clean")
    await harness.say(run, Stage.GENERATE, Generate(), seq=5, kind=KIND)
    await harness.step()
    await consumer.release(held)
    await harness.drain()
    await harness.promise(run, "success")


# ---- dead letters ------------------------------------------------------------------------------------------------


def letter(stage: str, reason: Reason = Reason.ATTEMPTS, code: str = Code.INTERNAL, **more: object) -> Dead:
    plain = Dead(reason, "collect", "7:1", stage, code, "KeyError", "0123456789ab", "[]")
    return msgspec.structs.replace(plain, **more)


async def post(harness: Harness, dead: Dead, run: RunId) -> None:
    header = Header(SCHEMA, Stage.DEAD.value, run.user, run.task, run.step, run.run, 0, 5, int(harness.now() * 1000))
    await harness.wire.publish(dead_letter_topic("collect"), encode(Message(header, dead), KEYS))


FORGED = [
    letter("collect", n=1),
    letter("clean"),
    letter("generate", Reason.UNKNOWN, Code.VENDOR_UNKNOWN, n=1),
    letter("poll", Reason.VENDOR, Code.CONTENT_VIOLATION, n=1),
    letter("wake", Reason.VENDOR, Code.VENDOR_FAILED, n=1),
    letter("nothing we know"),
]


@pytest.mark.parametrize("dead", FORGED)
async def test_a_forged_dead_letter_is_recorded_with_an_alarm_and_decides_nothing(
    harness: Harness, dead: Dead, caplog: pytest.LogCaptureFixture
) -> None:
    run = await at_work(harness)
    harness.ledger.cache.clear()
    await post(harness, dead, run)
    await harness.drain()
    await untouched(harness, run)
    assert [found["verdict"] for found in await harness.dead_letters()] == ["leave"]
    assert [record.levelname for record in caplog.records if record.msg == "dead_letter.recorded"] == ["ERROR"]
    await finishes(harness, run)


async def test_a_letter_decides_by_what_the_engine_recorded_not_by_what_it_says(harness: Harness) -> None:
    """The forger knows that a clean was given up: the forged letter says that the audit found something."""
    run = await harness.order("basic_clean")
    harness.injector.strike("objects.process", raises(ZeroDivisionError("never")), *[raises(ZeroDivisionError())] * 20)
    dead, consumer = await harness.until("dead")
    seq = next(header.seq for header in reversed(harness.sent("clean")))
    await post(harness, letter("clean", Reason.PERMANENT, Code.CONTENT_VIOLATION, seq=seq), run)
    await harness.step()
    await harness.promise(run, "failed", Code.INTERNAL)
    await consumer.release(dead)
    await harness.drain()
    await harness.promise(run, "failed", Code.INTERNAL)


async def test_two_wakes_that_end_badly_in_different_ways_have_a_record_each(harness: Harness) -> None:
    """All wakes have number 0: a record of the first must not be taken for a record of the second."""
    harness.vendor.plans.append(Plan(looks=0, end=JobState.FAILED))
    run = await harness.order()
    await harness.wire.lose(*await harness.until("poll"))
    harness.injector.strike("vendor.query", raises(AssertionError("our own mistake")), *[raises(AssertionError())] * 4)
    await harness.wake(run)
    await harness.drain()
    assert [found["verdict"] for found in await harness.dead_letters()] == ["leave"]
    await harness.wake(run)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)


@pytest.mark.parametrize(("stage", "attempt"), [("clean", 5), ("generate", 5), ("collect", 5), ("collect", 4)])
async def test_attempts_that_a_message_alone_tells_of_are_not_spent(harness: Harness, stage: str, attempt: int) -> None:
    run = await at_work(harness)
    if attempt == 4:
        harness.injector.strike("vendor.query", raises(AssertionError("our own mistake")))
    await harness.say(run, Stage(stage), BODIES[Stage(stage)], seq=40, attempt=attempt, kind=KIND)
    await harness.step()
    while harness.wire.open and harness.sent("dead"):
        await harness.step()
    await untouched(harness, run)
