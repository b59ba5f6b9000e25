"""Reading a run: paid calls, the snapshot for `next_step`, and reads that depend on listings."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.codes import Code
from messages.errors import Permanent
from messages.keys import RunId, record_key
from services.concurrency import Together
from services.errors import ObjectsDown
from services.objects.memory import MemoryObjects
from services.objects.walk import walk
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import (
    Accepted,
    Begun,
    CallEnd,
    Cleaned,
    DeadLetter,
    Delivered,
    Intent,
    JobId,
    ReopenDenied,
    Reopened,
    Verdict,
)
from tasks.ledger.snapshot import Highest, PaidCall, Snapshot, live_jobs, open_calls
from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import Clock, Cuts

RUN = RunId("u", "t")
ACCEPTED = Accepted("model_pose12", {}, (), created=1.0, deadline=2.0)


async def call(ledger: Ledger, n: int, *, job: str = "", end: CallEnd | None = None) -> None:
    await ledger.write(RUN, Intent.at(1, n), Intent("runninghub", 120.0))
    if job:
        await ledger.write(RUN, JobId.at(1, n), JobId(job))
    if end:
        await ledger.write(RUN, CallEnd.at(1, n), end)


async def test_a_run_without_paid_calls(ledger: Ledger) -> None:
    assert await ledger.calls(RUN) == ()


async def test_paid_calls_in_their_order(ledger: Ledger, store_clock: Clock) -> None:
    began = store_clock.now
    refused, failed = CallEnd("not_accepted", Code.BUSY), CallEnd("failed", Code.CONTENT_VIOLATION)
    await call(ledger, 1, end=refused)
    store_clock.now += 30
    await call(ledger, 2)
    await call(ledger, 3, job="job-3", end=failed)
    await call(ledger, 4, job="job-4")
    await call(ledger, 5)
    calls = await ledger.calls(RUN)
    assert calls == (
        PaidCall(1, began, 120.0, end=refused, vendor="runninghub"),
        PaidCall(2, began + 30, 120.0, vendor="runninghub"),
        PaidCall(3, began + 30, 120.0, job="job-3", end=failed, vendor="runninghub"),
        PaidCall(4, began + 30, 120.0, job="job-4", vendor="runninghub"),
        PaidCall(5, began + 30, 120.0, vendor="runninghub"),
    )
    assert [one.n for one in live_jobs(calls)] == [4]
    assert [one.n for one in open_calls(calls)] == [2, 5]


async def test_calls_are_found_up_to_the_first_that_is_absent(ledger: Ledger) -> None:
    await call(ledger, 1)
    await call(ledger, 3, job="beyond a gap")
    assert [one.n for one in await ledger.calls(RUN)] == [1]


async def test_more_than_nine_calls_keep_their_order(ledger: Ledger) -> None:
    for n in range(1, 13):
        await call(ledger, n, end=CallEnd("not_accepted"))
    assert [one.n for one in await ledger.calls(RUN)] == list(range(1, 13))


async def test_calls_do_not_hang_on_a_listing(ledger: Ledger, cuts: Cuts) -> None:
    await call(ledger, 1, job="job-1")
    cuts.cut("list", done=False, times=99)
    assert [one.job for one in await ledger.calls(RUN)] == ["job-1"]


@pytest.mark.parametrize("broken", ["call-1-1", "call-1-1-id", "call-1-1-end"])
async def test_a_call_that_cannot_be_read_is_never_taken_for_absent(
    broken: str, ledger: Ledger, objects: MemoryObjects
) -> None:
    await ledger.write(RUN, Intent.at(1, 1), Intent("x", 1.0))
    await objects.put(record_key(RUN, broken), b"?")
    ledger.cache.clear()
    with pytest.raises(Permanent, match=broken):
        await ledger.calls(RUN)


@pytest.mark.parametrize("turn", range(5))
async def test_a_store_that_is_away_is_never_taken_for_an_absence(
    ledger: Ledger, objects: MemoryObjects, turn: int
) -> None:
    await call(ledger, 1, job="job-1")
    ledger.cache.clear()
    seen = 0

    async def away(operation: str, key: str, *, done: bool) -> None:
        nonlocal seen
        if operation == "get" and not done:
            seen += 1
            if seen > turn:
                raise ObjectsDown(key)

    objects.faults = away
    if turn < 4:
        with pytest.raises(ObjectsDown):
            await ledger.calls(RUN)
    else:
        # call-1-1, its id and end, and call-1-2, which is absent.
        assert len(await ledger.calls(RUN)) == 1
        assert seen == 4


async def test_the_snapshot_of_nothing(ledger: Ledger) -> None:
    assert await ledger.snapshot(RUN) == Snapshot(RUN)


async def test_the_snapshot_of_everything(ledger: Ledger) -> None:
    verdict = Verdict("failed", "timeout")
    await ledger.write(RUN, Accepted.at(), ACCEPTED)
    await ledger.write(RUN, Verdict.at(), verdict)
    await ledger.write(RUN, Delivered.at(), Delivered(200))
    await ledger.write(RUN, Reopened.at(), Reopened())
    await ledger.write(RUN, ReopenDenied.at(), ReopenDenied())
    await ledger.write(RUN, Cleaned.at(), Cleaned(()))
    await call(ledger, 1, job="job-1")
    for stage, seq, slot in (
        ("clean", 0, None),
        ("clean", 2, None),
        ("clean", 10, None),
        ("poll", 8, 1),
        ("collect", 0, None),
    ):
        await ledger.write(RUN, Begun.at(stage, seq, slot), Begun("m", 0, 1.0))
    snapshot = await ledger.snapshot(RUN)
    assert snapshot == Snapshot(
        run=RUN,
        accepted=ACCEPTED,
        verdict=verdict,
        delivered=True,
        reopened=True,
        reopen_denied=True,
        cleaned=True,
        calls=await ledger.calls(RUN),
        begun=(Highest("clean", 0, 10), Highest("collect", 0, 0), Highest("poll", 1, 8)),
    )


async def test_a_snapshot_is_of_one_run_only(ledger: Ledger) -> None:
    for other in (
        RunId("u", "t", 0, 1),
        RunId("u", "t", 1, 0),
        RunId("u", "t2"),
        RunId("u2", "t"),
        RunId("u", "t", 0, 10),
    ):
        await ledger.write(other, Accepted.at(), ACCEPTED)
        await ledger.write(other, Verdict.at(), Verdict("success"))
        await ledger.write(other, Begun.at("clean", 5), Begun("m", 0, 1.0))
    assert await ledger.snapshot(RUN) == Snapshot(RUN)


@pytest.mark.parametrize("name", ["begun-clean-x", "begun-clean-", "begun-", "begun-clean-1.5", "begun-clean--1"])
async def test_names_that_are_no_marks_are_left_alone(name: str, ledger: Ledger, objects: MemoryObjects) -> None:
    await ledger.write(RUN, Begun.at("clean", 1), Begun("m", 0, 1.0))
    await objects.put(record_key(RUN, name), b"?")
    assert (await ledger.snapshot(RUN)).begun == (Highest("clean", 0, 1),)


async def test_one_broken_record_makes_no_half_snapshot(ledger: Ledger, objects: MemoryObjects) -> None:
    await ledger.write(RUN, Accepted.at(), ACCEPTED)
    await objects.put(record_key(RUN, "reopen_denied"), b"?")
    with pytest.raises(Permanent, match="reopen_denied"):
        await ledger.snapshot(RUN)


async def test_the_latest_run_is_the_highest_that_was_accepted(ledger: Ledger) -> None:
    assert await ledger.latest_run("u", "t", 0) is None
    for number in range(3):
        run = RunId("u", "t", 0, number)
        await ledger.write(run, Accepted.at(), ACCEPTED)
        assert await ledger.latest_run("u", "t", 0) == run
    assert await ledger.latest_run("u", "t", 1) is None
    assert await ledger.latest_run("u2", "t", 0) is None


async def test_the_index_lists_a_task_once_and_the_newest_first(ledger: Ledger, objects: MemoryObjects) -> None:
    for task, created in (("old", 1_000.0), ("new", 2_000.0), ("mid", 1_500.5), ("old", 1_000.0)):
        await ledger.index("u", task, created)
    keys = [item.key async for item in walk(objects, "index/user/u/", random.Random(1))]
    assert [key.rpartition("/")[2] for key in keys] == ["new", "mid", "old"]


async def test_an_index_entry_that_may_be_missing_is_told(ledger: Ledger, cuts: Cuts) -> None:
    cuts.cut("put_new", done=True)
    with pytest.raises(ObjectsDown):
        await ledger.index("u", "t", 1.0)
    await ledger.index("u", "t", 1.0)


async def test_the_trail_of_a_step_is_every_record_of_every_run_with_its_time(
    ledger: Ledger, objects: MemoryObjects, store_clock: Clock
) -> None:
    began = store_clock.now
    await ledger.write(RUN, Accepted.at(), ACCEPTED)
    store_clock.now += 60
    await ledger.write(RUN, Begun.at("clean", 3), Begun("m", 0, 1.0))
    for number in (1, 11):
        await ledger.write(RunId("u", "t", 0, number), Accepted.at(), ACCEPTED)
    for other in (RunId("u", "t", 1), RunId("u", "t", 10), RunId("u", "t2"), RunId("u2", "t")):
        await ledger.write(other, Accepted.at(), ACCEPTED)
    await objects.put("ledger/u/t/0-x/accepted", b"no run's")
    assert await ledger.trail(RUN) == {
        0: {"accepted": began, "begun-clean-3": began + 60},
        1: {"accepted": began + 60},
        11: {"accepted": began + 60},
    }
    assert await ledger.trail(RunId("u", "nothing")) == {}


LETTER = DeadLetter("vendor", "poll", "poll", "busy", "E", "f", "o", "text", "m", "u", "t", 0, 0, 1, "", at=1.0)


async def test_the_same_dead_letter_twice_is_one_record(ledger: Ledger, objects: MemoryObjects, cuts: Cuts) -> None:
    cuts.cut("put_new", done=True)
    await ledger.record_dead_letter("dead/2025-11-23/f/m", LETTER)
    await ledger.record_dead_letter("dead/2025-11-23/f/m", msgspec.structs.replace(LETTER, at=2.0))
    assert [item.key async for item in walk(objects, "dead/", random.Random(1))] == ["dead/2025-11-23/f/m"]


# ---- helpers beside it -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 30), st.integers(1, 7))
def test_a_walk_sees_everything_once_whatever_the_pages(count: int, page: int) -> None:
    class Paged(MemoryObjects):
        async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> object:  # type: ignore[override] - only passes on
            return await super().list(prefix, after=after, limit=min(limit, page))

    async def body() -> list[str]:
        objects = Paged(bucket="b-1", clock=lambda: 1.0)
        for n in range(count):
            await objects.put(f"a/{n:02d}", b"")
        await objects.put("b/x", b"")
        return [item.key async for item in walk(objects, "a/", random.Random(1))]

    assert asyncio.run(body()) == [f"a/{n:02d}" for n in range(count)]


async def test_together_raises_the_error_itself_and_cancels_the_rest() -> None:
    stopped = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def fail() -> None:
        raise ObjectsDown("away")

    async def both() -> None:
        async with Together() as group:
            group.create_task(wait())
            group.create_task(fail())

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ObjectsDown, match="away"):
            await both()
    assert stopped.is_set()


async def test_together_takes_an_error_out_of_a_group_within_it() -> None:
    async def inner() -> None:
        raise ExceptionGroup("g", [ExceptionGroup("h", [ObjectsDown("deep")])])

    with pytest.raises(ObjectsDown, match="deep"):
        async with Together() as group:
            group.create_task(inner())


async def test_together_keeps_the_cause_that_an_error_was_raised_from() -> None:
    async def fail() -> None:
        raise ObjectsDown("away") from ConnectionError("cut")

    async def body() -> None:
        async with Together() as group:
            group.create_task(fail())

    with pytest.raises(ObjectsDown) as raised:
        await body()
    assert isinstance(raised.value.__cause__, ConnectionError)


async def test_together_passes_a_cancel_on() -> None:
    entered = asyncio.Event()

    async def body() -> None:
        async with Together() as group:
            group.create_task(asyncio.Event().wait())
            entered.set()

    task = asyncio.create_task(body())
    async with asyncio.timeout(PATIENCE_S):
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
