"""The sweep finds what a broker lost, in one process on virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from messages.codec import MAX_MESSAGE_BYTES
from messages.codes import Code
from messages.keys import RunId
from producer.sweep import SweepPosition, Swept, resume_sweep, sweep
from recipes.basic_clean import BASIC_CLEAN
from recipes.table import RECIPES
from runtime.errors import BadSettings
from sandbox.backend.quota_account import PAGE_SIZE
from services.errors import BackendDown, ObjectsDown
from services.repeat import TRIES
from services.unfinished import UnfinishedPage, UnfinishedTask
from services.vendors.port import JobState
from tasks.ledger.ledger import Ledger
from tasks.wakes import Why
from tests.engine.fault_injector import raises, waits
from tests.engine.standins import Plan
from tests.unit.sweep.harness import SweepHarness
from transport.errors import BrokerDown

DOWN = raises(ObjectsDown("503"))


async def test_a_run_whose_first_message_was_lost_goes_on(harness: SweepHarness) -> None:
    run = await harness.order()
    assert await harness.lose_next() == "clean"
    await asyncio.sleep(601)

    swept = await harness.sweep()
    await harness.drain()

    assert (swept.listed, swept.woken, swept.errors, swept.cursor) == (1, 1, 0, "")
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]


async def test_a_dry_run_names_what_it_would_wake_and_wakes_nothing(harness: SweepHarness) -> None:
    run = await harness.order()
    assert await harness.lose_next() == "clean"
    await asyncio.sleep(601)
    named: list[tuple[str, str, str]] = []

    async def name(run: RunId, why: Why, _since: float) -> None:
        named.append((run.user, run.task, why))

    swept = await harness.sweep(wake=name)
    await harness.drain()

    assert (swept.listed, swept.woken) == (1, 1)
    assert named == [(run.user, run.task, "sweep")]
    assert harness.vendor.paid == []
    assert await harness.out.ledger.verdict(run) is None


@pytest.mark.parametrize("stage", ["generate", "poll", "collect"])
async def test_a_run_that_lost_any_message_goes_on_with_one_paid_call(harness: SweepHarness, stage: str) -> None:
    run = await harness.order()
    lost, consumer = await harness.until(stage)
    await consumer.ack(lost)
    await asyncio.sleep(601)
    for _ in range(3):
        await harness.sweep()
        await harness.drain()
        await asyncio.sleep(180)
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]


async def test_a_verdict_that_nobody_brings_to_the_backend_is_brought(harness: SweepHarness) -> None:
    run = await harness.order("basic_clean")
    harness.injector.strike("backend.deliver", raises(BackendDown("503")))
    await harness.pass_by("notify")
    await harness.lose_everything()
    await asyncio.sleep(601)
    await harness.sweep()
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_task_past_its_deadline_fails_with_its_text(harness: SweepHarness) -> None:
    run = await harness.order("basic_clean")
    await harness.lose_everything()
    await asyncio.sleep(BASIC_CLEAN.deadline_s)
    await harness.sweep()
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert harness.backend.heard[-1].message == "生成超时"


async def test_an_upload_whose_event_was_lost_is_taken_in(harness: SweepHarness) -> None:
    run = await harness.upload("basic_clean")
    await asyncio.sleep(601)
    await harness.sweep()
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_task_without_an_upload_waits_until_the_upload_limit(harness: SweepHarness) -> None:
    harness.backend.sell_many(1)
    await asyncio.sleep(1200)
    await harness.sweep()
    await harness.drain()
    assert harness.backend.heard == []
    await asyncio.sleep(2400)
    await harness.sweep()
    await harness.drain()
    (heard,) = harness.backend.heard
    assert (heard.status, heard.code, heard.message) == ("failed", Code.NOT_UPLOADED, "未上传")


async def test_a_run_whose_polls_go_on_is_left_alone(harness: SweepHarness) -> None:
    harness.vendor.plans.append(Plan(looks=1000))
    run = await harness.order()
    looked = 0
    while harness.now() < 1_750_000_000 + 1600:
        await harness.step()
        swept = await harness.sweep()
        assert swept.fresh == swept.listed
        looked += swept.listed
    assert looked > 10
    assert harness.wakes() == []
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)


async def test_a_backlog_on_the_runs_topic_holds_the_sweep_back(harness: SweepHarness) -> None:
    runs = [await harness.order() for _ in range(4)]
    await asyncio.sleep(700)
    # No worker has run: the first messages are all due and waiting.
    swept = await harness.sweep()
    assert (swept.listed, swept.fresh, swept.woken) == (4, 4, 0)
    await harness.drain()
    for run in runs:
        await harness.promise(run, "success")


@pytest.mark.parametrize("kind", [None, "video_matting"])
async def test_no_backlog_excuses_a_late_run_whose_kind_the_backend_does_not_tell(
    harness: SweepHarness, monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    # A worker has fetched the first messages; those behind them are the backlog.
    *_, run = [await harness.order("basic_clean") for _ in range(4)]
    row = UnfinishedTask(run.task, run.user, run.step, harness.now(), kind)

    async def listed(older_than: int, cursor: str = "") -> UnfinishedPage:
        return UnfinishedPage((row,), None)

    monkeypatch.setattr(harness.backend, "unfinished", listed)
    # It may be of the kind with the longest deadline.
    await asyncio.sleep(max(recipe.deadline_s for recipe in RECIPES.values()) - 2)
    assert (await harness.sweep()).fresh == 1
    await asyncio.sleep(2)
    assert (await harness.sweep()).woken == 1
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)


async def test_backlogs_that_cannot_be_read_hold_nothing_back(
    harness: SweepHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await harness.order()
    await asyncio.sleep(700)

    async def blind(topic: str, subscription: str) -> Any:
        raise BrokerDown("no admin port")

    monkeypatch.setattr(harness.wire, "backlog", blind)
    assert (await harness.sweep()).woken == 1
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]


async def test_an_error_in_one_row_stops_no_other(harness: SweepHarness) -> None:
    first, second, third = [await harness.upload("basic_clean") for _ in range(3)]
    await asyncio.sleep(601)
    harness.injector.strike(f"ledger.list ledger/u1/{second.task}/", *[DOWN] * TRIES)
    harness.injector.strike(f"ledger.list ledger/u1/{third.task}/", raises(TypeError("a defect")))
    harness.backend.lost.append(UnfinishedTask("../t", "u1", 0, harness.now(), "basic_clean"))
    harness.backend.lost.append(UnfinishedTask("t9", "u1", -1, harness.now(), "basic_clean"))

    swept = await harness.sweep()

    assert (swept.listed, swept.woken, swept.errors) == (5, 1, 4)
    await harness.drain()
    await harness.promise(first, "success")
    # The next sweep finds the others.
    await harness.sweep()
    await harness.drain()
    await harness.promise(second, "success")
    await harness.promise(third, "success")


async def test_rows_that_cannot_be_read_are_errors(harness: SweepHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await harness.upload("basic_clean")
    await asyncio.sleep(601)
    whole = harness.backend.unfinished

    async def unfinished(older_than: int, cursor: str = "") -> UnfinishedPage:
        return msgspec.structs.replace(await whole(older_than, cursor), unreadable=2)

    monkeypatch.setattr(harness.backend, "unfinished", unfinished)
    swept = await harness.sweep()
    assert (swept.listed, swept.woken, swept.errors) == (1, 1, 2)
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_row_without_a_kind_is_looked_at(harness: SweepHarness) -> None:
    run = await harness.upload("basic_clean")
    harness.backend.lost.append(UnfinishedTask(run.task, run.user, 0, harness.now(), None))
    assert (await harness.sweep(older_than=1)).woken == 1


async def test_wakes_of_a_sweep_are_light_and_name_no_run(harness: SweepHarness) -> None:
    await harness.upload()
    await asyncio.sleep(601)
    await harness.sweep()
    (sent,) = harness.sent("wake")
    assert (sent.run, sent.seq, sent.attempt) == (-1, 0, 0)
    (wake,) = harness.wakes()
    assert (wake.why, wake.since) == ("sweep", 1_750_000_000_000)
    assert len(harness.wire.sent[-1].payload) < 200 < MAX_MESSAGE_BYTES


async def test_it_pages_to_the_end(harness: SweepHarness) -> None:
    harness.backend.sell_many(2 * PAGE_SIZE + 1)
    await asyncio.sleep(601)
    swept = await harness.sweep()
    assert swept == Swept(listed=2 * PAGE_SIZE + 1, woken=2 * PAGE_SIZE + 1, pages=3)
    assert len(harness.backend.asked) == 3


async def test_out_of_time_it_stops_and_goes_on_there_the_next_time(harness: SweepHarness) -> None:
    harness.backend.sell_many(2 * PAGE_SIZE + 1)
    await asyncio.sleep(601)
    loop = asyncio.get_running_loop()
    place = SweepPosition()
    # Time runs out within the second page.
    harness.injector.strike(r"ledger.list ledger/u1/m[67]\d/", *[waits(30)] * 16)

    first = await resume_sweep({"Type": "Timer", "Message": ""}, harness.out, loop.time() + 20, place)
    assert PAGE_SIZE < first.listed < 2 * PAGE_SIZE
    assert (first.pages, first.cursor, place.cursor) == (1, str(PAGE_SIZE), str(PAGE_SIZE))

    second = await resume_sweep({"Type": "Timer"}, harness.out, loop.time() + 20, place)
    assert (second.listed, second.pages, second.cursor) == (PAGE_SIZE + 1, 2, "")
    assert place.cursor == ""
    woken = {sent.task for sent in harness.sent("wake")}
    assert len(woken) == 2 * PAGE_SIZE + 1


async def test_a_call_begins_nothing_when_its_time_is_over(harness: SweepHarness) -> None:
    await harness.upload()
    await asyncio.sleep(601)
    swept = await harness.sweep(until=asyncio.get_running_loop().time())
    assert swept == Swept()


async def test_a_cursor_that_leads_nowhere_ends(harness: SweepHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.sweep.MAX_PAGES", 5)
    harness.backend.sell_many(2 * PAGE_SIZE)
    await asyncio.sleep(601)
    whole = harness.backend.unfinished
    monkeypatch.setattr(harness.backend, "unfinished", lambda older_than, cursor="": whole(older_than, ""))
    swept = await harness.sweep()
    assert (swept.pages, swept.cursor) == (5, str(PAGE_SIZE))


async def test_an_event_may_say_where_to_begin_and_how_old(harness: SweepHarness) -> None:
    harness.backend.sell_many(PAGE_SIZE + 1)
    await asyncio.sleep(1)
    loop = asyncio.get_running_loop()
    until = loop.time() + 60
    assert (await resume_sweep({"Message": "not JSON"}, harness.out, until, SweepPosition())).listed == 0
    assert (
        await resume_sweep({"Message": '{"older_than":0}'}, harness.out, until, SweepPosition())
    ).listed == PAGE_SIZE + 1
    assert (
        await resume_sweep({"older_than": 0, "cursor": str(PAGE_SIZE)}, harness.out, until, SweepPosition())
    ).listed == 1


@pytest.mark.parametrize("message", ['{"older_than":"0"}', '{"olderthan":0}'])
async def test_an_event_that_asks_for_what_there_is_not_sweeps_nothing(harness: SweepHarness, message: str) -> None:
    harness.backend.sell_many(1)
    await asyncio.sleep(601)
    with pytest.raises(BadSettings, match="older"):
        await resume_sweep({"Type": "Timer", "Message": message}, harness.out, float("inf"), SweepPosition())
    assert harness.sent("wake") == []


async def test_a_list_that_cannot_be_read_is_an_error_and_begins_anew_next_time(harness: SweepHarness) -> None:
    harness.injector.strike("backend.unfinished", raises(BackendDown("503")))
    place = SweepPosition()
    place.cursor = "50"
    with pytest.raises(BackendDown):
        await resume_sweep({}, harness.out, asyncio.get_running_loop().time() + 60, place)
    assert place.cursor == ""


async def test_a_delivered_run_that_the_backend_still_lists_hears_the_same_verdict_again(harness: SweepHarness) -> None:
    run = await harness.order("basic_clean")
    await harness.drain()
    await harness.promise(run, "success")
    harness.list_again(run, "basic_clean")
    # The platform sweeps every three minutes, for two hours and a bit.
    counted = []
    for _ in range(42):
        counted.append(await harness.sweep())
        await harness.drain()
        await asyncio.sleep(180)
    assert [swept.redelivered for swept in counted].count(1) == 3
    assert harness.heard(run) == ["success"] * 4
    await harness.promise(run, "success")
    assert all(swept.woken == 0 for swept in counted)


async def test_a_failure_that_is_heard_again_refunds_once(harness: SweepHarness) -> None:
    harness.vendor.plans.append(Plan(end=JobState.FAILED))
    run = await harness.order()
    await harness.drain()
    harness.list_again(run)
    await harness.sweep()
    await harness.drain()
    assert harness.heard(run) == ["failed", "failed"]
    await harness.promise(run, "failed", Code.VENDOR_FAILED)


async def test_after_three_days_a_delivered_run_is_a_persons_task(harness: SweepHarness) -> None:
    run = await harness.order("basic_clean")
    await harness.drain()
    harness.list_again(run, "basic_clean")
    await asyncio.sleep(73 * 3600)
    swept = await harness.sweep()
    assert (swept.given_up, swept.redelivered) == (1, 0)
    assert harness.heard(run) == ["success"]


async def test_a_task_costs_one_listing_and_the_time_one_more(harness: SweepHarness) -> None:
    harness.backend.sell_many(30)
    await asyncio.sleep(601)
    await harness.sweep()
    assert harness.injector.count("^ledger.") == harness.injector.count("^ledger.list") == 31


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("off", [-200.0, 200.0])
async def test_a_clock_that_is_wrong_does_not_blind_the_sweep(harness: SweepHarness, off: float, *, away: bool) -> None:
    """Its wakes have the store's time; otherwise consumers would take each for an old one."""
    run = await harness.order("basic_clean")
    await harness.lose_everything()
    await asyncio.sleep(BASIC_CLEAN.deadline_s + 1)
    harness.injector.strike("^ledger.list", *[DOWN] * away)
    ledger = Ledger(harness.ledger.objects, clock=lambda: harness.now() + off, nonce=harness.ledger.nonce)
    swept = await sweep(dataclasses.replace(harness.out, ledger=ledger))
    assert (swept.woken, swept.errors) == (1, 0)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
