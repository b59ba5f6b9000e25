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
from tests.engine.fate import raises
from tests.engine.standins import Create, Plan
from tests.engine.world import KEYS, USER, World

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


async def at_work(world: World) -> RunId:
    """A task whose job is at work for as long as nobody is asked to look: its poll is lost."""
    world.vendor.plans.append(LONG)
    run = await world.order()
    await world.wire.lose(*await world.until("poll"))
    return run


async def untouched(world: World, run: RunId) -> None:
    """Nothing was decided about the task, and nothing of it is shown."""
    assert "verdict" not in await world.records(run)
    assert world.heard(run) == []
    assert world.state(run) == ("pending", 1, 0)
    assert await world.outputs(run) == []


async def finishes(world: World, run: RunId) -> None:
    """The task goes on from here to its success."""
    for job in world.vendor.jobs.values():
        job.plan = Plan(looks=0)
    await world.wake(run)
    await world.drain()
    await world.promise(run, "success")


# ---- deadlines and ages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "seq"), OF_A_RUN)
async def test_a_deadline_that_has_passed_in_a_message_alone_ends_nothing(world: World, stage: Stage, seq: int) -> None:
    run = await at_work(world)
    await world.say(run, stage, BODIES[stage], seq=seq, kind=KIND, deadline=1)
    await asyncio.sleep(1)
    await world.step()
    await untouched(world, run)
    assert not world.vendor.jobs["job1"].cancelled
    await finishes(world, run)


async def test_what_follows_a_message_has_the_deadline_kind_and_priority_of_the_ledger(world: World) -> None:
    run = await world.order()
    true = await world.until("clean")
    honest = world.sent("clean")[0]
    await world.wire.lose(*true)
    await world.say(run, Stage.CLEAN, Clean(), kind="basic_clean", deadline=1, priority=Priority.LOW)
    await world.pass_by("generate")
    made = world.sent("generate")[0]
    assert (made.kind, made.priority) == (KIND, Priority.NORMAL)
    assert made.deadline_at == honest.deadline_at
    await world.drain()
    await world.promise(run, "success")


@pytest.mark.parametrize("number", [0, LATEST])
async def test_a_wake_with_an_age_of_years_refunds_no_task_that_was_sold_a_minute_ago(
    world: World, number: int
) -> None:
    run = await world.upload()
    await world.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    await world.wake(run, "cancel", number, since=1)
    await world.drain()
    await untouched(world, run)


NOT_SAID = {
    "no answer": None,
    "no user": StepState("", "", 1.0),
    "no time": StepState("", USER, 0.0),
}


@pytest.mark.parametrize("state", NOT_SAID)
@pytest.mark.parametrize("listed", [True, False])
async def test_what_its_state_leaves_out_the_backends_list_must_say(
    world: World, monkeypatch: pytest.MonkeyPatch, state: str, *, listed: bool
) -> None:
    async def answer(_task: str, _step: int) -> StepState | None:
        return NOT_SAID[state]

    run = await world.upload()
    await world.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    await asyncio.sleep(world.out.policy.upload_limit_s)
    monkeypatch.setattr(world.backend, "state", answer)
    other = run if listed else msgspec.structs.replace(run, user="somebody-else")
    await world.wake(other, "cancel", since=1)
    await world.drain()
    assert world.state(run) == (("failed", 1, 1) if listed else ("pending", 1, 0))


@pytest.mark.parametrize("end", ["success", "cancelled"])
async def test_a_task_that_the_backend_has_ended_is_not_failed_for_its_upload(world: World, end: str) -> None:
    run = await world.upload()
    await world.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    if end == "cancelled":
        world.backend.book.cancel(run.task)
    else:
        results = (f"output/{run.user}/{run.task}/frame_01.jpg",)
        await world.backend.deliver(Callback(task=run.task, status="success", outputs=results))
    await asyncio.sleep(world.out.policy.upload_limit_s)
    await world.wake(run, "cancel", since=1)
    await world.drain()
    assert await world.records(run) == {}


async def test_a_notify_with_an_age_of_years_gives_up_no_callback(world: World) -> None:
    run = await world.order()
    await world.until("collect")
    await world.say(run, Stage.NOTIFY, Notify(1), seq=0)
    await world.step()
    assert await world.desk() == []


# ---- another user's, another run's, nobody's ---------------------------------------------------------------------


async def test_a_wake_under_a_false_user_neither_refunds_nor_lets_results_be_shown(world: World) -> None:
    run = await at_work(world)
    await asyncio.sleep(world.out.policy.upload_limit_s)
    false = msgspec.structs.replace(run, user="somebody-else")
    # The ledger of the true task is old enough too; only the user is wrong.
    await world.wake(false, "cancel", since=1)
    await world.step()
    assert await world.records(false) == {}
    await untouched(world, run)


@pytest.mark.parametrize("stage", BODIES)
async def test_run_seven_of_a_live_task_fails_nothing(world: World, stage: Stage) -> None:
    run = await at_work(world)
    await world.data.delete([f"input/{run.user}/{run.task}/original.jpg"])
    await world.say(run, stage, BODIES[stage], number=7, kind=KIND, deadline=1)
    await asyncio.sleep(world.out.policy.upload_limit_s)
    await world.step()
    while world.wire.open:
        await world.step()
    await untouched(world, run)
    seventh = msgspec.structs.replace(run, run=7)
    # A wake that comes late is marked: it may have killed a process.
    assert not [name for name in await world.records(seventh) if not name.startswith("begun-wake")]
    assert [letter["verdict"] for letter in await world.desk()] in ([], ["leave"])


@pytest.mark.parametrize("stage", [Stage.CLEAN, Stage.GENERATE, Stage.COLLECT, Stage.POLL])
async def test_a_message_of_a_task_that_nobody_accepted_leaves_no_trace_in_its_run(world: World, stage: Stage) -> None:
    """A mark of it would turn the task's own first message away."""
    run = await world.upload()
    await world.say(run, stage, BODIES[stage], kind=KIND)
    await world.drain()
    await untouched(world, run)
    assert await world.records(run) == {}
    assert await world.take_in(run) == "accepted"
    await world.drain()
    await world.promise(run, "success")


# ---- jobs --------------------------------------------------------------------------------------------------------


async def two_tasks(world: World) -> tuple[RunId, RunId]:
    """A victim whose job1 has twelve pictures ready, and a task of another user with a job2 at work."""
    world.vendor.plans.extend([Plan(looks=0), LONG])
    victim = await world.order(user="victim")
    await world.wire.lose(*await world.until("poll"))
    thief = await world.order(user="thief")
    await world.wire.lose(*await world.until("poll"))
    return victim, thief


@pytest.mark.parametrize("n", [1, 2])
async def test_a_collect_that_names_another_users_job_delivers_nothing(world: World, n: int) -> None:
    victim, thief = await two_tasks(world)
    await world.say(thief, Stage.COLLECT, Collect(Job(n, "job1")), seq=50, kind=KIND)
    await world.drain()
    await untouched(world, thief)
    assert world.fate.count("files.get") == 0
    await finishes(world, victim)


@pytest.mark.parametrize("seq", [1, 8])
@pytest.mark.parametrize("end", [JobState.SUCCESS, JobState.FAILED])
async def test_a_poll_that_names_another_users_job_neither_collects_nor_fails(
    world: World, end: JobState, seq: int
) -> None:
    _, thief = await two_tasks(world)
    world.vendor.jobs["job1"].plan.end = end
    await world.say(thief, Stage.POLL, Poll((Job(1, "job1"),), 0), seq=seq, kind=KIND)
    await world.step()
    await untouched(world, thief)
    assert "call-1-1-end" not in await world.records(thief)
    assert world.sent("collect") == world.sent("dead") == []


async def test_a_poll_with_unsaved_ids_writes_none_for_a_call_that_was_never_made(world: World) -> None:
    run = await world.order()
    await world.until("generate")
    await world.say(run, Stage.POLL, Poll((Job(1, "job1"), Job(2, "job9")), 0, unsaved=True), seq=1, kind=KIND)
    await world.step()
    assert not [name for name in await world.records(run) if name.endswith("-id")]


@pytest.mark.parametrize("job", ["nobody-knows", "job1"])
async def test_an_unsaved_id_is_written_only_where_the_vendor_bears_it_out(world: World, job: str) -> None:
    """An open call of the thief's own, and an id that the vendor does not know, or made for the victim."""
    await world.order(user="victim")
    await world.wire.lose(*await world.until("poll"))
    world.vendor.creates.append(Create(answer="lost"))
    thief = await world.order(user="thief")
    await world.pass_by("generate", 1)
    await world.say(thief, Stage.POLL, Poll((Job(1, job),), 0, unsaved=True), seq=1, kind=KIND)
    delivery, consumer = await world.until("poll")
    await world.run(delivery, consumer)
    assert "call-1-1-id" not in await world.records(thief)


async def test_a_generate_of_a_slot_that_was_never_sold_pays_nothing(world: World) -> None:
    run = await at_work(world)
    await world.say(run, Stage.GENERATE, Generate(2), kind=KIND)
    await world.step()
    assert len(world.vendor.paid) == 1
    await untouched(world, run)


async def test_a_generate_that_comes_before_clean_is_done_fails_nothing(world: World) -> None:
    run = await world.order()
    held, consumer = await world.until("clean")
    await world.say(run, Stage.GENERATE, Generate(), seq=5, kind=KIND)
    await world.step()
    await consumer.release(held)
    await world.drain()
    await world.promise(run, "success")


# ---- dead letters ------------------------------------------------------------------------------------------------


def letter(stage: str, reason: Reason = Reason.ATTEMPTS, code: str = Code.INTERNAL, **more: object) -> Dead:
    plain = Dead(reason, "collect", "7:1", stage, code, "KeyError", "0123456789ab", "[]")
    return msgspec.structs.replace(plain, **more)


async def post(world: World, dead: Dead, run: RunId) -> None:
    header = Header(SCHEMA, Stage.DEAD.value, run.user, run.task, run.step, run.run, 0, 5, int(world.now() * 1000))
    await world.wire.publish(dead_letter_topic("collect"), encode(Message(header, dead), KEYS))


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
    world: World, dead: Dead, caplog: pytest.LogCaptureFixture
) -> None:
    run = await at_work(world)
    world.ledger.cache.clear()
    await post(world, dead, run)
    await world.drain()
    await untouched(world, run)
    assert [found["verdict"] for found in await world.desk()] == ["leave"]
    assert [record.levelname for record in caplog.records if record.msg == "dead_letter.recorded"] == ["ERROR"]
    await finishes(world, run)


async def test_a_letter_decides_by_what_the_engine_recorded_not_by_what_it_says(world: World) -> None:
    """The forger knows that a clean was given up: it says that the audit found something."""
    run = await world.order("basic_clean")
    world.fate.strike("objects.process", raises(ZeroDivisionError("never")), *[raises(ZeroDivisionError())] * 20)
    dead, consumer = await world.until("dead")
    seq = next(header.seq for header in reversed(world.sent("clean")))
    await post(world, letter("clean", Reason.PERMANENT, Code.CONTENT_VIOLATION, seq=seq), run)
    await world.step()
    await world.promise(run, "failed", Code.INTERNAL)
    await consumer.release(dead)
    await world.drain()
    await world.promise(run, "failed", Code.INTERNAL)


async def test_two_wakes_that_end_badly_in_different_ways_have_a_record_each(world: World) -> None:
    """All wakes have number 0: a record of the first must not be what is believed of the second."""
    world.vendor.plans.append(Plan(looks=0, end=JobState.FAILED))
    run = await world.order()
    await world.wire.lose(*await world.until("poll"))
    world.fate.strike("vendor.query", raises(AssertionError("our own mistake")), *[raises(AssertionError())] * 4)
    await world.wake(run)
    await world.drain()
    assert [found["verdict"] for found in await world.desk()] == ["leave"]
    await world.wake(run)
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_FAILED)


@pytest.mark.parametrize(("stage", "attempt"), [("clean", 5), ("generate", 5), ("collect", 5), ("collect", 4)])
async def test_attempts_that_a_message_alone_tells_of_are_not_spent(world: World, stage: str, attempt: int) -> None:
    run = await at_work(world)
    if attempt == 4:
        world.fate.strike("vendor.query", raises(AssertionError("our own mistake")))
    await world.say(run, Stage(stage), BODIES[Stage(stage)], seq=40, attempt=attempt, kind=KIND)
    await world.step()
    while world.wire.open and world.sent("dead"):
        await world.step()
    await untouched(world, run)
