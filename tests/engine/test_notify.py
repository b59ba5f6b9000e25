"""The backend hears a verdict, however long it takes, and always the same one."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from consumers.stages.notify import GIVE_UP_S
from consumers.stages.schedule import NOTIFY_LONGEST
from messages.bodies import Notify, Stage
from messages.codes import Code
from messages.errors import Permanent
from sandbox.backend.quota_account import ReceivedCallback
from services.backend import Answer, Callback
from services.errors import BackendDown, Denied, ObjectsDown, VendorDown
from tasks.ending.cancel import cancel_task
from tasks.ledger.records import Verdict
from tasks.wakes import REDELIVER
from tests.engine.fate import Act, calls, passes, raises, waits
from tests.engine.standins import Plan
from tests.engine.world import World


def away(times: int) -> list[Act]:
    return [raises(BackendDown("away"))] * times


async def test_a_backend_down_for_hours_hears_it_once_after_growing_delays(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", *away(40))
    await world.drain()
    await world.promise(run, "success")
    assert world.heard(run) == ["success"]
    notes = world.sent("notify")
    assert len(notes) == 40
    assert {note.attempt for note in notes} == {0}
    assert {note.deadline for note in notes} == {0}
    delays = [note.not_before / 1000 for note in notes]
    assert delays[1] < 10
    assert all(later >= earlier * 0.8 for earlier, later in itertools.pairwise(delays))
    assert NOTIFY_LONGEST <= delays[-1] <= NOTIFY_LONGEST * 1.2
    assert world.now() - 1_750_000_000 > 4 * 3600
    assert await world.desk() == []


async def test_retry_after_of_the_backend_is_honoured(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", *[raises(BackendDown("busy", retry_after=1000.0))] * 2)
    await world.drain()
    await world.promise(run, "success")
    assert [note.not_before >= 1_000_000 for note in world.sent("notify")] == [True, True]


async def test_an_answer_lost_on_the_way_is_a_callback_repeated_alike(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", *away(3), done=True)
    await world.drain()
    await world.promise(run, "success")
    assert world.heard(run) == ["success"] * 4


@pytest.mark.parametrize("plan", [Plan(), Plan(files=11)], ids=["success", "failed"])
@pytest.mark.parametrize(
    "place", ["objects.copy .*frame_05", "objects.delete", "ledger.put_new .*/delivered", "ledger.get .*/delivered"]
)
async def test_finish_goes_on_from_where_it_broke(world: World, plan: Plan, place: str) -> None:
    world.vendor.plans.append(plan)
    run = await world.order()
    world.fate.strike(place, *[raises(ObjectsDown("away"))] * 2)
    await world.drain()
    verdict = await world.verdict(run)
    await world.promise(run, verdict.status, verdict.code)
    assert world.backend.book.totals() == {"charged": 1, "refunded": int(verdict.status != "success")}


async def test_several_chains_meet_at_one_mark(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", *away(12))
    first = await world.until("notify")
    for _ in range(3):
        await world.wire.publish(first[0].topic, first[0].payload)
    await first[1].release(first[0])
    await world.drain()
    await world.promise(run, "success")
    assert len({note.seq for note in world.sent("notify")}) == len(world.sent("notify")) - 3


async def test_after_three_days_it_is_a_desk_record_and_never_a_failed_verdict(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", *away(2000))
    await world.drain(2000)
    assert world.now() - 1_750_000_000 > GIVE_UP_S
    (letter,) = await world.desk()
    assert (letter["stage"], letter["verdict"]) == ("notify", "leave")
    assert (await world.verdict(run)).status == "success"
    assert world.heard(run) == []
    world.fate.clear()
    await world.wake(run, "sweep")
    await world.drain()
    await world.promise(run, "success")


async def test_a_callback_that_is_slow_costs_no_attempt(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", *away(1), *[waits(100)] * 20)
    await world.drain()
    await world.promise(run, "success")
    assert {note.attempt for note in world.sent("notify")} == {0}
    assert len(world.sent("notify")) == 21
    assert await world.desk() == []


async def test_a_verdict_is_delivered_though_the_task_has_passed_its_deadline(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", *away(30))
    await world.drain()
    assert world.now() - 1_750_000_000 > 1800
    await world.promise(run, "success")


async def test_a_conflict_of_our_success_withdraws_what_was_shown(world: World) -> None:
    run = await world.order()
    await world.pass_by("collect")
    failed = ReceivedCallback(
        path="", received=0, signature_ok=True, v2="ok", task=run.task, status="failed", error="operator"
    )
    world.backend.book.record_callback(failed)
    await world.drain()
    assert (await world.verdict(run)).status == "success"
    stored = (await world.records(run))["delivered"]
    assert (
        stored.items()
        >= {
            "http_status": 409,
            "conflict": True,
            "contrary": True,
        }.items()
    )
    assert await world.outputs(run) == []
    assert world.state(run) == ("failed", 1, 1)
    await world.wake(run)
    await world.say(run, Stage.NOTIFY, Notify(0), seq=7)
    await world.drain()
    assert await world.outputs(run) == []
    assert world.heard(run) == ["success"]


async def test_a_conflict_of_our_failure_leaves_the_backends_word(world: World) -> None:
    world.vendor.plans.append(Plan(files=11))
    run = await world.order()
    await world.pass_by("collect")
    done = ReceivedCallback(
        path="",
        received=0,
        signature_ok=True,
        v2="ok",
        task=run.task,
        status="success",
        outputs=(f"cos://output/{run.user}/{run.task}/frame_01.jpg",),
    )
    world.backend.book.record_callback(done)
    await world.drain()
    assert (await world.verdict(run)).status == "failed"
    stored = (await world.records(run))["delivered"]
    assert (
        stored.items()
        >= {
            "http_status": 409,
            "conflict": True,
            "contrary": True,
        }.items()
    )
    assert world.state(run) == ("success", 1, 0)


@pytest.mark.parametrize("plan", [Plan(), Plan(files=11)], ids=["success", "failed"])
async def test_a_409_that_is_not_contrary_is_no_last_word(
    world: World, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare, or `running`: a backend that goes on listing the task has no verdict."""

    async def conflicting(callback: Callback) -> Answer:
        return Answer(delivered=False, conflict=True, http_status=409)

    world.vendor.plans.append(plan)
    run = await world.order()
    with monkeypatch.context() as patched:
        patched.setattr(world.backend, "deliver", conflicting)
        await world.drain()
    stored = (await world.records(run))["delivered"]
    assert (
        stored.items()
        >= {
            "http_status": 409,
            "conflict": True,
            "contrary": False,
        }.items()
    )
    await world.wake(run, "sweep")
    await world.drain()
    assert world.heard(run) == []
    await world.wake(run, REDELIVER)
    await world.drain()
    verdict = await world.verdict(run)
    await world.promise(run, verdict.status, verdict.code)
    assert len(world.heard(run)) == 1


@pytest.mark.parametrize("act", [raises(Denied("DeleteObject")), raises(Permanent("never")), waits(1e6)])
@pytest.mark.parametrize("place", ["objects.list staging/", "objects.delete staging/"])
async def test_staging_that_cannot_be_deleted_does_not_hold_up_the_refund(world: World, place: str, act: Act) -> None:
    world.vendor.plans.append(Plan(files=11))
    run = await world.order()
    await world.pass_by("dead")
    before = world.now()
    world.fate.strike(place, *[act] * 20)
    while not world.heard(run) and world.now() < before + 600:
        await world.step()
    assert world.now() - before < 15
    assert world.state(run) == ("failed", 1, 1)
    world.fate.clear()
    assert await world.staged(run) != []
    await world.drain()
    await world.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    assert await world.staged(run) == []


async def test_a_backend_that_has_cancelled_it_itself_agrees_with_our_cancel(world: World) -> None:
    run = await world.order()
    await world.pass_by("poll")
    world.backend.book.cancel(run.task)
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.drain()
    stored = (await world.records(run))["delivered"]
    assert (
        stored.items()
        >= {
            "http_status": 200,
            "conflict": False,
            "contrary": False,
        }.items()
    )
    assert world.state(run) == ("cancelled", 1, 1)


async def test_results_promoted_long_ago_are_not_missed_when_staging_has_aged_out(world: World) -> None:
    run = await world.order()
    world.fate.strike("backend.deliver", *away(3))
    await world.pass_by("notify")
    await world.data.delete(await world.staged(run))
    await world.drain()
    await world.promise(run, "success")


async def test_results_that_can_no_longer_be_promoted_are_a_desk_record_never_a_failed_verdict(world: World) -> None:
    run = await world.order()
    world.fate.strike("objects.copy", *[passes()] * 11, *[raises(ObjectsDown("away"))] * 3)
    await world.pass_by("notify")
    await world.data.delete([*await world.staged(run), *await world.outputs(run)])
    await world.drain()
    assert (await world.verdict(run)).status == "success"
    (letter,) = await world.desk()
    assert (letter["stage"], letter["verdict"]) == ("notify", "leave")
    assert world.heard(run) == []


async def test_a_vendor_away_at_the_end_does_not_hold_up_the_callback_and_is_told_later(world: World) -> None:
    world.vendor.plans.append(Plan(looks=10**6))
    run = await world.order()
    world.fate.strike("vendor.cancel", *[raises(VendorDown("away"))] * 3)
    await world.drain()
    await world.promise(run, "failed", Code.TIMEOUT)
    assert world.heard(run) == ["failed"]
    assert world.vendor.jobs["job1"].cancelled


async def test_a_worker_without_the_vendors_key_leaves_the_job_to_be_stopped_by_another(world: World) -> None:
    world.vendor.plans.append(Plan(looks=10**6))
    run = await world.order()
    await world.pass_by("poll")
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    vendor = world.vendors.pop(world.vendor.name)
    await world.pass_by("notify", 3)
    assert world.heard(run) == ["failed"]
    world.vendors[world.vendor.name] = vendor
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)
    assert world.vendor.jobs["job1"].cancelled
    assert await world.desk() == []


async def test_a_job_that_a_wake_could_not_stop_is_stopped_later_though_the_refund_is_told(world: World) -> None:
    world.vendor.plans.append(Plan(looks=10**6))
    run = await world.order()
    lost, consumer = await world.until("poll")
    await consumer.ack(lost)
    vendor = world.vendors.pop(world.vendor.name)
    await cancel_task(run, world.out)
    await world.pass_by("notify", 2)
    assert world.heard(run) == ["failed"]
    world.vendors[world.vendor.name] = vendor
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)
    assert world.vendor.jobs["job1"].cancelled


async def test_a_defect_in_the_cleaning_up_holds_up_no_refund(world: World) -> None:
    world.vendor.plans.append(Plan(looks=10**6))
    run = await world.order()
    world.fate.strike("vendor.cancel", *[raises(ZeroDivisionError())] * 100)
    await world.drain()
    assert world.heard(run) == ["failed"]
    assert world.state(run) == ("failed", 1, 1)
    assert [(letter["stage"], letter["verdict"]) for letter in await world.desk()] == [("notify", "leave")]


async def test_results_that_were_withdrawn_stay_so_however_often_the_backend_lists_its_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers 409 without a word first, and later that it holds the contrary verdict."""
    run = await world.order()
    shown: list[int] = []

    async def deliver(_callback: Callback) -> Answer:
        shown.append(len(await world.outputs(run)))
        return Answer(delivered=False, conflict=True, http_status=409, contrary=len(shown) > 1)

    monkeypatch.setattr(world.backend, "deliver", deliver)
    await world.drain()
    for _ in range(3):
        await world.wake(run, REDELIVER)
        await world.drain()
    assert shown == [12, 12]
    assert "withdrawn" in await world.records(run)
    assert await world.outputs(run) == []


async def test_two_ends_at_once_say_the_same(world: World) -> None:
    run = await world.order()
    delivery, consumer = await world.until("collect")
    world.fate.strike("ledger.put_new .*/verdict", calls(lambda: world.wake(run)), done=True)
    await asyncio.gather(world.run(delivery, consumer), world.step())
    await world.drain()
    await world.promise(run, "success")
