"""The backend receives a verdict, however long it takes, and always the same one."""

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
from tests.engine.fault_injector import Act, calls, passes, raises, waits
from tests.engine.harness import Harness
from tests.engine.standins import Plan


def away(times: int) -> list[Act]:
    return [raises(BackendDown("away"))] * times


async def test_a_backend_down_for_hours_hears_it_once_after_growing_delays(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *away(40))
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.heard(run) == ["success"]
    notes = harness.sent("notify")
    assert len(notes) == 40
    assert {note.attempt for note in notes} == {0}
    assert {note.deadline for note in notes} == {0}
    delays = [note.not_before / 1000 for note in notes]
    assert delays[1] < 10
    assert all(later >= earlier * 0.8 for earlier, later in itertools.pairwise(delays))
    assert NOTIFY_LONGEST <= delays[-1] <= NOTIFY_LONGEST * 1.2
    assert harness.now() - 1_750_000_000 > 4 * 3600
    assert await harness.dead_letters() == []


async def test_retry_after_of_the_backend_is_honoured(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *[raises(BackendDown("busy", retry_after=1000.0))] * 2)
    await harness.drain()
    await harness.promise(run, "success")
    assert [note.not_before >= 1_000_000 for note in harness.sent("notify")] == [True, True]


async def test_an_answer_lost_on_the_way_is_a_callback_repeated_alike(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *away(3), done=True)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.heard(run) == ["success"] * 4


@pytest.mark.parametrize("plan", [Plan(), Plan(files=11)], ids=["success", "failed"])
@pytest.mark.parametrize(
    "place", ["objects.copy .*frame_05", "objects.delete", "ledger.put_new .*/delivered", "ledger.get .*/delivered"]
)
async def test_finish_goes_on_from_where_it_broke(harness: Harness, plan: Plan, place: str) -> None:
    harness.vendor.plans.append(plan)
    run = await harness.order()
    harness.injector.strike(place, *[raises(ObjectsDown("away"))] * 2)
    await harness.drain()
    verdict = await harness.verdict(run)
    await harness.promise(run, verdict.status, verdict.code)
    assert harness.backend.book.totals() == {"charged": 1, "refunded": int(verdict.status != "success")}


async def test_several_chains_meet_at_one_mark(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *away(12))
    first = await harness.until("notify")
    for _ in range(3):
        await harness.wire.publish(first[0].topic, first[0].payload)
    await first[1].release(first[0])
    await harness.drain()
    await harness.promise(run, "success")
    assert len({note.seq for note in harness.sent("notify")}) == len(harness.sent("notify")) - 3


async def test_after_three_days_it_is_a_desk_record_and_never_a_failed_verdict(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *away(2000))
    await harness.drain(2000)
    assert harness.now() - 1_750_000_000 > GIVE_UP_S
    (letter,) = await harness.dead_letters()
    assert (letter["stage"], letter["verdict"]) == ("notify", "leave")
    assert (await harness.verdict(run)).status == "success"
    assert harness.heard(run) == []
    harness.injector.clear()
    await harness.wake(run, "sweep")
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_callback_that_is_slow_costs_no_attempt(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *away(1), *[waits(100)] * 20)
    await harness.drain()
    await harness.promise(run, "success")
    assert {note.attempt for note in harness.sent("notify")} == {0}
    assert len(harness.sent("notify")) == 21
    assert await harness.dead_letters() == []


async def test_a_verdict_is_delivered_though_the_task_has_passed_its_deadline(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *away(30))
    await harness.drain()
    assert harness.now() - 1_750_000_000 > 1800
    await harness.promise(run, "success")


async def test_a_conflict_of_our_success_withdraws_what_was_shown(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("collect")
    failed = ReceivedCallback(
        path="", received=0, signature_ok=True, v2="ok", task=run.task, status="failed", error="operator"
    )
    harness.backend.book.record_callback(failed)
    await harness.drain()
    assert (await harness.verdict(run)).status == "success"
    stored = (await harness.records(run))["delivered"]
    assert (
        stored.items()
        >= {
            "http_status": 409,
            "conflict": True,
            "contrary": True,
        }.items()
    )
    assert await harness.outputs(run) == []
    assert harness.state(run) == ("failed", 1, 1)
    await harness.wake(run)
    await harness.say(run, Stage.NOTIFY, Notify(0), seq=7)
    await harness.drain()
    assert await harness.outputs(run) == []
    assert harness.heard(run) == ["success"]


async def test_a_conflict_of_our_failure_leaves_the_backends_word(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(files=11))
    run = await harness.order()
    await harness.pass_by("poll")
    done = ReceivedCallback(
        path="",
        received=0,
        signature_ok=True,
        v2="ok",
        task=run.task,
        status="success",
        outputs=(f"cos://output/{run.user}/{run.task}/frame_01.jpg",),
    )
    harness.backend.book.record_callback(done)
    await harness.drain()
    assert (await harness.verdict(run)).status == "failed"
    stored = (await harness.records(run))["delivered"]
    assert (
        stored.items()
        >= {
            "http_status": 409,
            "conflict": True,
            "contrary": True,
        }.items()
    )
    assert harness.state(run) == ("success", 1, 0)


@pytest.mark.parametrize("plan", [Plan(), Plan(files=11)], ids=["success", "failed"])
async def test_a_409_that_is_not_contrary_is_no_last_word(
    harness: Harness, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare, or `running`: a backend that goes on listing the task has no verdict."""

    async def conflicting(callback: Callback) -> Answer:
        return Answer(delivered=False, conflict=True, http_status=409)

    harness.vendor.plans.append(plan)
    run = await harness.order()
    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, "deliver", conflicting)
        await harness.drain()
    stored = (await harness.records(run))["delivered"]
    assert (
        stored.items()
        >= {
            "http_status": 409,
            "conflict": True,
            "contrary": False,
        }.items()
    )
    await harness.wake(run, "sweep")
    await harness.drain()
    assert harness.heard(run) == []
    await harness.wake(run, REDELIVER)
    await harness.drain()
    verdict = await harness.verdict(run)
    await harness.promise(run, verdict.status, verdict.code)
    assert len(harness.heard(run)) == 1


@pytest.mark.parametrize("act", [raises(Denied("DeleteObject")), raises(Permanent("never")), waits(1e6)])
@pytest.mark.parametrize("place", ["objects.list staging/", "objects.delete staging/"])
async def test_staging_that_cannot_be_deleted_does_not_hold_up_the_refund(
    harness: Harness, place: str, act: Act
) -> None:
    harness.vendor.plans.append(Plan(files=11))
    run = await harness.order()
    await harness.pass_by("dead")
    before = harness.now()
    harness.injector.strike(place, *[act] * 20)
    while not harness.heard(run) and harness.now() < before + 600:
        await harness.step()
    assert harness.now() - before < 15
    assert harness.state(run) == ("failed", 1, 1)
    harness.injector.clear()
    assert await harness.staged(run) != []
    await harness.drain()
    await harness.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    assert await harness.staged(run) == []


async def test_a_backend_that_has_cancelled_it_itself_agrees_with_our_cancel(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("poll")
    harness.backend.book.cancel(run.task)
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.drain()
    stored = (await harness.records(run))["delivered"]
    assert (
        stored.items()
        >= {
            "http_status": 200,
            "conflict": False,
            "contrary": False,
        }.items()
    )
    assert harness.state(run) == ("cancelled", 1, 1)


async def test_results_promoted_long_ago_are_not_missed_when_staging_has_aged_out(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *away(3))
    await harness.pass_by("notify")
    await harness.data.delete(await harness.staged(run))
    await harness.drain()
    await harness.promise(run, "success")


async def test_results_that_can_no_longer_be_promoted_are_a_desk_record_never_a_failed_verdict(
    harness: Harness,
) -> None:
    run = await harness.order()
    harness.injector.strike("objects.copy", *[passes()] * 11, *[raises(ObjectsDown("away"))] * 3)
    await harness.pass_by("notify")
    await harness.data.delete([*await harness.staged(run), *await harness.outputs(run)])
    await harness.drain()
    assert (await harness.verdict(run)).status == "success"
    (letter,) = await harness.dead_letters()
    assert (letter["stage"], letter["verdict"]) == ("notify", "leave")
    assert harness.heard(run) == []


async def test_a_vendor_away_at_the_end_does_not_hold_up_the_callback_and_is_told_later(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10**6))
    run = await harness.order()
    harness.injector.strike("vendor.cancel", *[raises(VendorDown("away"))] * 3)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert harness.heard(run) == ["failed"]
    assert harness.vendor.jobs["job1"].cancelled


async def test_a_worker_without_the_vendors_key_leaves_the_job_to_be_stopped_by_another(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10**6))
    run = await harness.order()
    await harness.pass_by("poll")
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    vendor = harness.vendors.pop(harness.vendor.name)
    await harness.pass_by("notify", 3)
    assert harness.heard(run) == ["failed"]
    harness.vendors[harness.vendor.name] = vendor
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert harness.vendor.jobs["job1"].cancelled
    assert await harness.dead_letters() == []


async def test_a_job_that_a_wake_could_not_stop_is_stopped_later_though_the_refund_is_told(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10**6))
    run = await harness.order()
    lost, consumer = await harness.until("poll")
    await consumer.ack(lost)
    vendor = harness.vendors.pop(harness.vendor.name)
    await cancel_task(run, harness.out)
    await harness.pass_by("notify", 2)
    assert harness.heard(run) == ["failed"]
    harness.vendors[harness.vendor.name] = vendor
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert harness.vendor.jobs["job1"].cancelled


async def test_a_defect_in_the_cleaning_up_holds_up_no_refund(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10**6))
    run = await harness.order()
    harness.injector.strike("vendor.cancel", *[raises(ZeroDivisionError())] * 100)
    await harness.drain()
    assert harness.heard(run) == ["failed"]
    assert harness.state(run) == ("failed", 1, 1)
    assert [(letter["stage"], letter["verdict"]) for letter in await harness.dead_letters()] == [("notify", "leave")]


async def test_results_that_were_withdrawn_stay_so_however_often_the_backend_lists_its_task(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers 409 without a word first, and later that it holds the contrary verdict."""
    run = await harness.order()
    shown: list[int] = []

    async def deliver(_callback: Callback) -> Answer:
        shown.append(len(await harness.outputs(run)))
        return Answer(delivered=False, conflict=True, http_status=409, contrary=len(shown) > 1)

    monkeypatch.setattr(harness.backend, "deliver", deliver)
    await harness.drain()
    for _ in range(3):
        await harness.wake(run, REDELIVER)
        await harness.drain()
    assert shown == [12, 12]
    assert "withdrawn" in await harness.records(run)
    assert await harness.outputs(run) == []


async def test_two_ends_at_once_say_the_same(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("collect")
    harness.injector.strike("ledger.put_new .*/verdict", calls(lambda: harness.wake(run)), done=True)
    await asyncio.gather(harness.run(delivery, consumer), harness.step())
    await harness.drain()
    await harness.promise(run, "success")
