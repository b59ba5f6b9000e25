"""The sweep finds what a broker lost, in one process on virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from messages.codec import MAX_MESSAGE_BYTES
from messages.codes import Code
from producer.sweep import SweepPosition, Swept, resume_sweep, sweep
from recipes.basic_clean import BASIC_CLEAN
from recipes.model_pose12 import MODEL_POSE12
from runtime.errors import BadSettings
from sandbox.backend.quota_account import PAGE_SIZE
from services.backend import UnfinishedPage, UnfinishedTask
from services.errors import BackendDown, ObjectsDown
from services.vendors.port import JobState
from tasks.ledger.ledger import Ledger
from tests.engine.fate import raises, waits
from tests.engine.standins import Plan
from tests.unit.sweep.house import House
from transport.errors import BrokerDown

DOWN = raises(ObjectsDown("503"))


async def test_a_run_whose_first_message_was_lost_goes_on(house: House) -> None:
    run = await house.order()
    assert await house.lose_next() == "clean"
    await asyncio.sleep(601)

    swept = await house.sweep()
    await house.drain()

    assert (swept.listed, swept.woken, swept.errors, swept.cursor) == (1, 1, 0, "")
    await house.promise(run, "success")
    assert house.vendor.paid == ["job1"]


@pytest.mark.parametrize("stage", ["generate", "poll", "collect"])
async def test_a_run_that_lost_any_message_goes_on_with_one_paid_call(house: House, stage: str) -> None:
    run = await house.order()
    lost, consumer = await house.until(stage)
    await consumer.ack(lost)
    await asyncio.sleep(601)
    for _ in range(3):
        await house.sweep()
        await house.drain()
        await asyncio.sleep(180)
    await house.promise(run, "success")
    assert house.vendor.paid == ["job1"]


async def test_a_verdict_that_nobody_brings_to_the_backend_is_brought(house: House) -> None:
    run = await house.order("basic_clean")
    house.fate.strike("backend.deliver", raises(BackendDown("503")))
    await house.pass_by("notify")
    await house.lose_everything()
    await asyncio.sleep(601)
    await house.sweep()
    await house.drain()
    await house.promise(run, "success")


async def test_a_task_past_its_deadline_fails_with_its_text(house: House) -> None:
    run = await house.order("basic_clean")
    await house.lose_everything()
    await asyncio.sleep(BASIC_CLEAN.deadline_s)
    await house.sweep()
    await house.drain()
    await house.promise(run, "failed", Code.TIMEOUT)
    assert house.backend.heard[-1].message == "生成超时"


async def test_an_upload_whose_event_was_lost_is_taken_in(house: House) -> None:
    run = await house.upload("basic_clean")
    await asyncio.sleep(601)
    await house.sweep()
    await house.drain()
    await house.promise(run, "success")


async def test_a_task_without_an_upload_waits_until_the_upload_limit(house: House) -> None:
    house.backend.sell_many(1)
    await asyncio.sleep(1200)
    await house.sweep()
    await house.drain()
    assert house.backend.heard == []
    await asyncio.sleep(2400)
    await house.sweep()
    await house.drain()
    (heard,) = house.backend.heard
    assert (heard.status, heard.code, heard.message) == ("failed", Code.NOT_UPLOADED, "未上传")


async def test_a_run_whose_polls_go_on_is_left_alone(house: House) -> None:
    house.vendor.plans.append(Plan(looks=1000))
    run = await house.order()
    looked = 0
    while house.now() < 1_750_000_000 + 1600:
        await house.step()
        swept = await house.sweep()
        assert swept.fresh == swept.listed
        looked += swept.listed
    assert looked > 10
    assert house.wakes() == []
    await house.drain()
    await house.promise(run, "failed", Code.TIMEOUT)


async def test_a_backlog_on_the_runs_topic_holds_the_sweep_back(house: House) -> None:
    runs = [await house.order() for _ in range(4)]
    await asyncio.sleep(700)
    # Nobody has worked: the first messages are all due and wait their turn.
    swept = await house.sweep()
    assert (swept.listed, swept.fresh, swept.woken) == (4, 4, 0)
    await house.drain()
    for run in runs:
        await house.promise(run, "success")


@pytest.mark.parametrize("kind", [None, "video_tryon"])
async def test_no_backlog_excuses_a_late_run_whose_kind_the_backend_does_not_tell(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    # A worker has fetched the first ones; what waits behind them is the backlog.
    *_, run = [await house.order("basic_clean") for _ in range(4)]
    row = UnfinishedTask(run.task, run.user, run.step, house.now(), kind)

    async def listed(older_than: int, cursor: str = "") -> UnfinishedPage:
        return UnfinishedPage((row,), None)

    monkeypatch.setattr(house.backend, "unfinished", listed)
    await asyncio.sleep(MODEL_POSE12.deadline_s - 2)
    assert (await house.sweep()).fresh == 1
    await asyncio.sleep(2)
    assert (await house.sweep()).woken == 1
    await house.drain()
    await house.promise(run, "failed", Code.TIMEOUT)


async def test_backlogs_that_cannot_be_read_hold_nothing_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await house.order()
    await asyncio.sleep(700)

    async def blind(topic: str, subscription: str) -> Any:
        raise BrokerDown("no admin port")

    monkeypatch.setattr(house.wire, "backlog", blind)
    assert (await house.sweep()).woken == 1
    await house.drain()
    await house.promise(run, "success")
    assert house.vendor.paid == ["job1"]


async def test_an_error_in_one_row_stops_no_other(house: House) -> None:
    first, second, third = [await house.upload("basic_clean") for _ in range(3)]
    await asyncio.sleep(601)
    house.fate.strike(f"ledger.list ledger/u1/{second.task}/", DOWN)
    house.fate.strike(f"ledger.list ledger/u1/{third.task}/", raises(TypeError("a defect")))
    house.backend.lost.append(UnfinishedTask("../t", "u1", 0, house.now(), "basic_clean"))
    house.backend.lost.append(UnfinishedTask("t9", "u1", -1, house.now(), "basic_clean"))

    swept = await house.sweep()

    assert (swept.listed, swept.woken, swept.errors) == (5, 1, 4)
    await house.drain()
    await house.promise(first, "success")
    # The next sweep finds the others.
    await house.sweep()
    await house.drain()
    await house.promise(second, "success")
    await house.promise(third, "success")


async def test_rows_that_cannot_be_read_are_errors(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await house.upload("basic_clean")
    await asyncio.sleep(601)
    whole = house.backend.unfinished

    async def unfinished(older_than: int, cursor: str = "") -> UnfinishedPage:
        return msgspec.structs.replace(await whole(older_than, cursor), unreadable=2)

    monkeypatch.setattr(house.backend, "unfinished", unfinished)
    swept = await house.sweep()
    assert (swept.listed, swept.woken, swept.errors) == (1, 1, 2)
    await house.drain()
    await house.promise(run, "success")


async def test_a_row_without_a_kind_is_looked_at(house: House) -> None:
    run = await house.upload("basic_clean")
    house.backend.lost.append(UnfinishedTask(run.task, run.user, 0, house.now(), None))
    assert (await house.sweep(older_than=1)).woken == 1


async def test_wakes_of_a_sweep_are_light_and_name_no_run(house: House) -> None:
    await house.upload()
    await asyncio.sleep(601)
    await house.sweep()
    (sent,) = house.sent("wake")
    assert (sent.run, sent.seq, sent.attempt) == (-1, 0, 0)
    (wake,) = house.wakes()
    assert (wake.why, wake.since) == ("sweep", 1_750_000_000_000)
    assert len(house.wire.sent[-1].payload) < 200 < MAX_MESSAGE_BYTES


async def test_it_pages_to_the_end(house: House) -> None:
    house.backend.sell_many(2 * PAGE_SIZE + 1)
    await asyncio.sleep(601)
    swept = await house.sweep()
    assert swept == Swept(listed=2 * PAGE_SIZE + 1, woken=2 * PAGE_SIZE + 1, pages=3)
    assert len(house.backend.asked) == 3


async def test_out_of_time_it_stops_and_goes_on_there_the_next_time(house: House) -> None:
    house.backend.sell_many(2 * PAGE_SIZE + 1)
    await asyncio.sleep(601)
    loop = asyncio.get_running_loop()
    place = SweepPosition()
    # Time runs out within the second page.
    house.fate.strike(r"ledger.list ledger/u1/m[67]\d/", *[waits(30)] * 16)

    first = await resume_sweep({"Type": "Timer", "Message": ""}, house.out, loop.time() + 20, place)
    assert PAGE_SIZE < first.listed < 2 * PAGE_SIZE
    assert (first.pages, first.cursor, place.cursor) == (1, str(PAGE_SIZE), str(PAGE_SIZE))

    second = await resume_sweep({"Type": "Timer"}, house.out, loop.time() + 20, place)
    assert (second.listed, second.pages, second.cursor) == (PAGE_SIZE + 1, 2, "")
    assert place.cursor == ""
    woken = {sent.task for sent in house.sent("wake")}
    assert len(woken) == 2 * PAGE_SIZE + 1


async def test_a_call_begins_nothing_when_its_time_is_over(house: House) -> None:
    await house.upload()
    await asyncio.sleep(601)
    swept = await house.sweep(until=asyncio.get_running_loop().time())
    assert swept == Swept()


async def test_a_cursor_that_leads_nowhere_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.sweep.MAX_PAGES", 5)
    house.backend.sell_many(2 * PAGE_SIZE)
    await asyncio.sleep(601)
    whole = house.backend.unfinished
    monkeypatch.setattr(house.backend, "unfinished", lambda older_than, cursor="": whole(older_than, ""))
    swept = await house.sweep()
    assert (swept.pages, swept.cursor) == (5, str(PAGE_SIZE))


async def test_an_event_may_say_where_to_begin_and_how_old(house: House) -> None:
    house.backend.sell_many(PAGE_SIZE + 1)
    await asyncio.sleep(1)
    loop = asyncio.get_running_loop()
    until = loop.time() + 60
    assert (await resume_sweep({"Message": "not JSON"}, house.out, until, SweepPosition())).listed == 0
    assert (
        await resume_sweep({"Message": '{"older_than":0}'}, house.out, until, SweepPosition())
    ).listed == PAGE_SIZE + 1
    assert (
        await resume_sweep({"older_than": 0, "cursor": str(PAGE_SIZE)}, house.out, until, SweepPosition())
    ).listed == 1


@pytest.mark.parametrize("message", ['{"older_than":"0"}', '{"olderthan":0}'])
async def test_an_event_that_asks_for_what_there_is_not_sweeps_nothing(house: House, message: str) -> None:
    house.backend.sell_many(1)
    await asyncio.sleep(601)
    with pytest.raises(BadSettings, match="older"):
        await resume_sweep({"Type": "Timer", "Message": message}, house.out, float("inf"), SweepPosition())
    assert house.sent("wake") == []


async def test_a_list_that_cannot_be_read_is_an_error_and_begins_anew_next_time(house: House) -> None:
    house.fate.strike("backend.unfinished", raises(BackendDown("503")))
    place = SweepPosition()
    place.cursor = "50"
    with pytest.raises(BackendDown):
        await resume_sweep({}, house.out, asyncio.get_running_loop().time() + 60, place)
    assert place.cursor == ""


async def test_a_delivered_run_that_the_backend_still_lists_hears_the_same_verdict_again(house: House) -> None:
    run = await house.order("basic_clean")
    await house.drain()
    await house.promise(run, "success")
    house.list_again(run, "basic_clean")
    # The platform sweeps every three minutes, for two hours and a bit.
    counted = []
    for _ in range(42):
        counted.append(await house.sweep())
        await house.drain()
        await asyncio.sleep(180)
    assert [swept.redelivered for swept in counted].count(1) == 3
    assert house.heard(run) == ["success"] * 4
    await house.promise(run, "success")
    assert all(swept.woken == 0 for swept in counted)


async def test_a_failure_that_is_heard_again_refunds_once(house: House) -> None:
    house.vendor.plans.append(Plan(end=JobState.FAILED))
    run = await house.order()
    await house.drain()
    house.list_again(run)
    await house.sweep()
    await house.drain()
    assert house.heard(run) == ["failed", "failed"]
    await house.promise(run, "failed", Code.VENDOR_FAILED)


async def test_after_three_days_a_delivered_run_is_a_persons_task(house: House) -> None:
    run = await house.order("basic_clean")
    await house.drain()
    house.list_again(run, "basic_clean")
    await asyncio.sleep(73 * 3600)
    swept = await house.sweep()
    assert (swept.given_up, swept.redelivered) == (1, 0)
    assert house.heard(run) == ["success"]


async def test_a_task_costs_one_listing_and_the_time_one_more(house: House) -> None:
    house.backend.sell_many(30)
    await asyncio.sleep(601)
    await house.sweep()
    assert house.fate.count("^ledger.") == house.fate.count("^ledger.list") == 31


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("off", [-200.0, 200.0])
async def test_a_clock_that_is_wrong_does_not_blind_the_sweep(house: House, off: float, *, away: bool) -> None:
    """Its wakes are told by the store's time, or consumers would take each for an old one."""
    run = await house.order("basic_clean")
    await house.lose_everything()
    await asyncio.sleep(BASIC_CLEAN.deadline_s + 1)
    house.fate.strike("^ledger.list", *[DOWN] * away)
    ledger = Ledger(house.ledger.objects, clock=lambda: house.now() + off, nonce=house.ledger.nonce)
    swept = await sweep(dataclasses.replace(house.out, ledger=ledger))
    assert (swept.woken, swept.errors) == (1, 0)
    await house.drain()
    await house.promise(run, "failed", Code.TIMEOUT)
