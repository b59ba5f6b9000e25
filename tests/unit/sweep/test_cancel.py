"""Cancel: at most one record, a wake, the vendor's job stopped, one callback."""

from __future__ import annotations

import msgspec
import pytest

from console.cli.sweep import NoSuchTask, cancel_known
from messages.codes import Code
from messages.keys import RunId, runs_prefix
from services.errors import BackendDown
from tasks.ending.cancel import cancel_task
from tasks.ledger.records import Accepted, ReopenDenied
from tasks.wakes import LATEST, current_run
from tests.engine.fault_injector import raises
from tests.engine.standins import Plan
from tests.unit.sweep.harness import SweepHarness
from transport.errors import BrokerDown


def latest(run: RunId) -> RunId:
    return RunId(run.user, run.task, run.step, LATEST)


async def test_a_waiting_task_is_cancelled_with_its_job(harness: SweepHarness) -> None:
    harness.vendor.plans.append(Plan(looks=1000))
    run = await harness.order()
    await harness.past("poll")

    verdict = await cancel_task(latest(run), harness.out)
    assert (verdict.status, verdict.code) == ("cancelled", Code.CANCELLED)
    await harness.step()
    await harness.step()
    await harness.promise(run, "cancelled", Code.CANCELLED)

    (heard,) = harness.backend.heard
    assert (heard.status, heard.code, heard.message) == ("failed", "cancelled", "已取消")
    assert harness.vendor.jobs["job1"].cancelled
    assert await harness.staged(run) == []


async def test_the_rest_of_a_cancelled_run_ends_without_another_verdict(harness: SweepHarness) -> None:
    harness.vendor.plans.append(Plan(looks=1000))
    run = await harness.order()
    await harness.past("poll")
    await cancel_task(latest(run), harness.out)
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert set(harness.heard(run)) == {"failed"}


async def test_a_task_that_nobody_uploaded_for_can_be_cancelled(harness: SweepHarness) -> None:
    run = await harness.upload()
    await cancel_task(latest(run), harness.out)
    await harness.drain()
    assert harness.heard(run) == ["failed"]
    # The upload's event comes after all.
    assert await harness.take_in(run) == "ended"
    await harness.drain()
    assert harness.vendor.paid == []


async def test_cancelled_twice_is_cancelled_once_and_woken_twice(harness: SweepHarness) -> None:
    run = await harness.order()
    harness.injector.strike("broker.publish wake-0", raises(BrokerDown("no receipt")))
    with pytest.raises(BrokerDown):
        await cancel_task(latest(run), harness.out)
    assert (await cancel_task(latest(run), harness.out)).status == "cancelled"
    assert [wake.why for wake in harness.wakes()] == ["cancel"]
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)


async def test_a_success_stands(harness: SweepHarness) -> None:
    run = await harness.order("basic_clean")
    await harness.drain()
    assert (await cancel_task(latest(run), harness.out)).status == "success"
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.heard(run) == ["success"]


async def test_a_backend_that_is_away_hears_of_the_cancel_in_the_end(harness: SweepHarness) -> None:
    harness.vendor.plans.append(Plan(looks=1000))
    run = await harness.order()
    await harness.past("poll")
    harness.injector.strike("backend.deliver", raises(BackendDown("503")))
    await cancel_task(latest(run), harness.out)
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert harness.vendor.jobs["job1"].cancelled


async def test_the_run_that_counts(harness: SweepHarness) -> None:
    run = RunId("u1", "t1")
    assert await current_run(latest(run), harness.ledger) == run
    accepted = Accepted("basic_clean", {}, (), 1.0, 2.0)
    for number in range(3):
        await harness.ledger.write(RunId("u1", "t1", 0, number), Accepted.at(), accepted)
    assert (await current_run(latest(run), harness.ledger)).run == 2
    await harness.ledger.write(RunId("u1", "t1", 0, 2), ReopenDenied.at(), ReopenDenied())
    assert (await current_run(latest(run), harness.ledger)).run == 1
    assert (await current_run(run, harness.ledger)).run == 0


WRONG = (
    ({"user": "wrong"}, "input/wrong/"),
    ({"task": "mistyped"}, "/mistyped/"),
    ({"step": 1}, "step 1"),
)


@pytest.mark.parametrize(("mistake", "named"), WRONG)
async def test_a_person_who_mistypes_an_id_cancels_nothing(
    harness: SweepHarness, mistake: dict[str, str | int], named: str
) -> None:
    run = await harness.order()
    wrong = msgspec.structs.replace(latest(run), **mistake)
    with pytest.raises(NoSuchTask) as reported:
        await cancel_known(wrong, harness.out, not_uploaded=False)
    for part in (f"user {wrong.user} has no task {wrong.task}", named, "--not-uploaded"):
        assert part in str(reported.value)
    assert harness.wakes() == []
    assert [item.key for item in (await harness.ledger.objects.list(runs_prefix(wrong))).items] == []
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_person_may_cancel_a_task_whose_upload_nobody_has_taken_in(harness: SweepHarness) -> None:
    run = await harness.upload()
    assert (await cancel_known(latest(run), harness.out, not_uploaded=False)).status == "cancelled"
    await harness.drain()
    assert harness.heard(run) == ["failed"]


async def test_a_person_may_cancel_a_task_whose_upload_is_to_come(harness: SweepHarness) -> None:
    harness.backend.sell_many(1)
    run = RunId("u1", "m1")
    assert (await cancel_known(latest(run), harness.out, not_uploaded=True)).status == "cancelled"
    # The vendor knows it from now on.
    assert (await cancel_known(latest(run), harness.out, not_uploaded=False)).status == "cancelled"
    await harness.drain()
    assert harness.heard(run) == ["failed"]


async def test_a_person_hears_of_the_verdict_that_stands(harness: SweepHarness) -> None:
    run = await harness.order("basic_clean")
    await harness.drain()
    assert (await cancel_known(latest(run), harness.out, not_uploaded=False)).status == "success"
