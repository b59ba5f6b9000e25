"""Cancel: at most one record, a wake, the vendor's job stopped, the backend told once."""

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
from tests.engine.fate import raises
from tests.engine.standins import Plan
from tests.unit.sweep.house import House
from transport.errors import BrokerDown


def latest(run: RunId) -> RunId:
    return RunId(run.user, run.task, run.step, LATEST)


async def test_a_waiting_task_is_cancelled_with_its_job(house: House) -> None:
    house.vendor.plans.append(Plan(looks=1000))
    run = await house.order()
    await house.past("poll")

    verdict = await cancel_task(latest(run), house.out)
    assert (verdict.status, verdict.code) == ("cancelled", Code.CANCELLED)
    await house.step()
    await house.step()
    await house.promise(run, "cancelled", Code.CANCELLED)

    (heard,) = house.backend.heard
    assert (heard.status, heard.code, heard.message) == ("failed", "cancelled", "已取消")
    assert house.vendor.jobs["job1"].cancelled
    assert await house.staged(run) == []


async def test_the_rest_of_a_cancelled_run_ends_without_another_verdict(house: House) -> None:
    house.vendor.plans.append(Plan(looks=1000))
    run = await house.order()
    await house.past("poll")
    await cancel_task(latest(run), house.out)
    await house.drain()
    await house.promise(run, "cancelled", Code.CANCELLED)
    assert set(house.heard(run)) == {"failed"}


async def test_a_task_that_nobody_uploaded_for_can_be_cancelled(house: House) -> None:
    run = await house.upload()
    await cancel_task(latest(run), house.out)
    await house.drain()
    assert house.heard(run) == ["failed"]
    # The upload's event comes after all.
    assert await house.take_in(run) == "ended"
    await house.drain()
    assert house.vendor.paid == []


async def test_cancelled_twice_is_cancelled_once_and_woken_twice(house: House) -> None:
    run = await house.order()
    house.fate.strike("broker.publish wake-0", raises(BrokerDown("no receipt")))
    with pytest.raises(BrokerDown):
        await cancel_task(latest(run), house.out)
    assert (await cancel_task(latest(run), house.out)).status == "cancelled"
    assert [wake.why for wake in house.wakes()] == ["cancel"]
    await house.drain()
    await house.promise(run, "cancelled", Code.CANCELLED)


async def test_a_success_stands(house: House) -> None:
    run = await house.order("basic_clean")
    await house.drain()
    assert (await cancel_task(latest(run), house.out)).status == "success"
    await house.drain()
    await house.promise(run, "success")
    assert house.heard(run) == ["success"]


async def test_a_backend_that_is_away_hears_of_the_cancel_in_the_end(house: House) -> None:
    house.vendor.plans.append(Plan(looks=1000))
    run = await house.order()
    await house.past("poll")
    house.fate.strike("backend.deliver", raises(BackendDown("503")))
    await cancel_task(latest(run), house.out)
    await house.drain()
    await house.promise(run, "cancelled", Code.CANCELLED)
    assert house.vendor.jobs["job1"].cancelled


async def test_the_run_that_counts(house: House) -> None:
    run = RunId("u1", "t1")
    assert await current_run(latest(run), house.ledger) == run
    accepted = Accepted("basic_clean", {}, (), 1.0, 2.0)
    for number in range(3):
        await house.ledger.write(RunId("u1", "t1", 0, number), Accepted.at(), accepted)
    assert (await current_run(latest(run), house.ledger)).run == 2
    await house.ledger.write(RunId("u1", "t1", 0, 2), ReopenDenied.at(), ReopenDenied())
    assert (await current_run(latest(run), house.ledger)).run == 1
    assert (await current_run(run, house.ledger)).run == 0


WRONG = (
    ({"user": "wrong"}, "input/wrong/"),
    ({"task": "mistyped"}, "/mistyped/"),
    ({"step": 1}, "step 1"),
)


@pytest.mark.parametrize(("mistake", "named"), WRONG)
async def test_a_person_who_mistypes_an_id_cancels_nothing(
    house: House, mistake: dict[str, str | int], named: str
) -> None:
    run = await house.order()
    wrong = msgspec.structs.replace(latest(run), **mistake)
    with pytest.raises(NoSuchTask) as told:
        await cancel_known(wrong, house.out, not_uploaded=False)
    for part in (f"user {wrong.user} has no task {wrong.task}", named, "--not-uploaded"):
        assert part in str(told.value)
    assert house.wakes() == []
    assert [item.key for item in (await house.ledger.objects.list(runs_prefix(wrong))).items] == []
    await house.drain()
    await house.promise(run, "success")


async def test_a_person_may_cancel_a_task_whose_upload_nobody_has_taken_in(house: House) -> None:
    run = await house.upload()
    assert (await cancel_known(latest(run), house.out, not_uploaded=False)).status == "cancelled"
    await house.drain()
    assert house.heard(run) == ["failed"]


async def test_a_person_may_cancel_a_task_whose_upload_is_to_come(house: House) -> None:
    house.backend.sell_many(1)
    run = RunId("u1", "m1")
    assert (await cancel_known(latest(run), house.out, not_uploaded=True)).status == "cancelled"
    # It is known from now on.
    assert (await cancel_known(latest(run), house.out, not_uploaded=False)).status == "cancelled"
    await house.drain()
    assert house.heard(run) == ["failed"]


async def test_a_person_hears_of_the_verdict_that_stands(house: House) -> None:
    run = await house.order("basic_clean")
    await house.drain()
    assert (await cancel_known(latest(run), house.out, not_uploaded=False)).status == "success"
