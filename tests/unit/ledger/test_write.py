"""Writing records: the stored record is returned, whatever answers are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from messages.codes import Code
from messages.errors import Permanent
from messages.keys import RunId, record_key
from services.errors import Denied, ObjectsDown
from services.objects.memory import MemoryObjects
from tasks.ledger.ledger import Ledger
from tasks.ledger.names import RecordName
from tasks.ledger.records import (
    Accepted,
    Begun,
    CallEnd,
    Cleaned,
    Delivered,
    InputRef,
    Intent,
    JobId,
    ManifestItem,
    Product,
    ReopenDenied,
    Reopened,
    Verdict,
    parse_name,
)
from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import Clock, Cuts

RUN = RunId("u", "t")
TRIES = 3
"""Tries of one write, each of which may fail."""
ITEM = ManifestItem("staging/u/t/0-0/n/frame_01.jpg", "output/u/t/frame_01.jpg", "aa", 5)

EVERY: dict[str, tuple[Any, Any]] = {
    "accepted": (
        Accepted("basic_clean", {"quality": 7}, (InputRef("k", "e", 1),), created=1.5, deadline=2.5),
        Accepted("basic_clean", {}, (), created=1.0, deadline=9.0),
    ),
    "cleaned": (Cleaned((Product("k", "e", 1, "jpg"),)), Cleaned(())),
    "begun-clean-0": (Begun("m1", 0, 60.0), Begun("m2", 1, 60.0)),
    "call-1-1": (Intent("runninghub", 120.0), Intent("other", 9.0)),
    "call-1-1-id": (JobId("job-1"), JobId("job-2")),
    "call-1-1-end": (CallEnd("not_accepted", Code.BUSY), CallEnd("failed", Code.TIMEOUT)),
    "verdict": (Verdict("success", "", (ITEM,), "job-1"), Verdict("failed", "timeout")),
    "delivered": (Delivered(200), Delivered(409, conflict=True)),
    "reopened": (Reopened(), Reopened()),
    "reopen_denied": (ReopenDenied(), ReopenDenied()),
}
"""Name -> the record that comes first, and another that comes too late."""


def name_of(text: str) -> RecordName[Any]:
    parsed = parse_name(text)
    assert parsed is not None
    return RecordName(text, parsed.kind)


every_record = pytest.mark.parametrize("name", [*EVERY])


@every_record
async def test_the_first_write_wins_and_every_other_is_told_so(name: str, ledger: Ledger) -> None:
    first, second = EVERY[name]
    mine = await ledger.write(RUN, name_of(name), first)
    assert (mine.record, mine.mine) == (first, True)
    late = await ledger.write(RUN, name_of(name), second)
    assert (late.record, late.mine) == (first, False)
    found = await ledger.read(RUN, name_of(name))
    assert found is not None
    assert (found.record, found.mine) == (first, False)


@every_record
async def test_an_answer_cut_off_does_not_make_the_winner_think_that_it_lost(
    name: str, ledger: Ledger, cuts: Cuts
) -> None:
    first, second = EVERY[name]
    cuts.cut("put_new", done=True)
    stored = await ledger.write(RUN, name_of(name), first)
    assert cuts.hits == [("put_new", record_key(RUN, name))]
    assert (stored.record, stored.mine) == (first, True)
    # The cut record is stored, and wins over every later one.
    assert (await ledger.write(RUN, name_of(name), second)).record == first


@every_record
async def test_a_write_that_never_arrived_is_an_outage(name: str, ledger: Ledger, cuts: Cuts) -> None:
    first, _ = EVERY[name]
    cuts.cut("put_new", done=False, times=TRIES)
    with pytest.raises(ObjectsDown):
        await ledger.write(RUN, name_of(name), first)
    assert await ledger.read(RUN, name_of(name)) is None
    assert (await ledger.write(RUN, name_of(name), first)).mine


@every_record
async def test_no_answer_and_another_writer(name: str, ledger_of: Callable[[str], Ledger], cuts: Cuts) -> None:
    first, second = EVERY[name]
    await ledger_of("other").write(RUN, name_of(name), first)
    cuts.cut("put_new", done=False)
    stored = await ledger_of("mine").write(RUN, name_of(name), second)
    assert (stored.record, stored.mine) == (first, False)


@every_record
async def test_a_write_that_fails_twice_at_once_is_made_again(name: str, ledger: Ledger, cuts: Cuts) -> None:
    first, _ = EVERY[name]
    cuts.cut("put_new", done=False, times=TRIES - 1)
    assert (await ledger.write(RUN, name_of(name), first)).mine
    cuts.cut("get", done=False, times=TRIES - 1)
    ledger.cache.clear()
    assert (await ledger.read(RUN, name_of(name))) is not None


@every_record
async def test_a_repeat_meets_what_the_first_try_has_stored_and_knows_it(name: str, ledger: Ledger, cuts: Cuts) -> None:
    first, _ = EVERY[name]
    cuts.cut("put_new", done=True)
    cuts.cut("get", done=False)
    assert (await ledger.write(RUN, name_of(name), first)).mine


@pytest.mark.parametrize("stored", [True, False])
async def test_when_the_read_back_fails_too_nobody_knows(
    ledger: Ledger, objects: MemoryObjects, cuts: Cuts, *, stored: bool
) -> None:
    cuts.cut("put_new", done=stored, times=1 if stored else TRIES)
    cuts.cut("get", done=False, times=TRIES)
    with pytest.raises(ObjectsDown):
        await ledger.write(RUN, Verdict.at(), Verdict("failed"))
    assert bool((await objects.list("")).items) == stored
    # A writer that asks again gets the stored record, and at most one writer is reported as the first.
    again = await ledger.write(RUN, Verdict.at(), Verdict("success"))
    assert again.record.status == ("failed" if stored else "success")
    assert again.mine is not stored


async def test_every_write_has_a_nonce_of_its_own(ledger: Ledger, objects: MemoryObjects) -> None:
    await ledger.write(RUN, Intent.at(1, 1), Intent("x", 1.0))
    await ledger.write(RUN, Intent.at(1, 2), Intent("x", 1.0))
    bodies = [(await objects.get(record_key(RUN, name))).body for name in ("call-1-1", "call-1-2")]
    nonces = [msgspec.json.decode(body)["nonce"] for body in bodies]
    assert len(set(nonces)) == 2
    assert all(nonces)


async def test_the_same_record_by_another_process_is_not_mine(ledger_of: Callable[[str], Ledger]) -> None:
    one, other = ledger_of("a"), ledger_of("b")
    results = [await writer.write(RUN, Intent.at(1, 1), Intent("runninghub", 120.0)) for writer in (one, other)]
    assert [result.mine for result in results] == [True, False]
    assert results[0].record == results[1].record


@pytest.mark.parametrize("cut", [0, 1, 7, 20])
async def test_of_many_writers_exactly_one_wins(ledger_of: Callable[[str], Ledger], cuts: Cuts, cut: int) -> None:
    # Some answers are cut off after the put, so the winner may be one of those.
    cuts.cut("put_new", done=True, times=cut)
    writers = [ledger_of(f"p{n}") for n in range(20)]
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(
            *(writer.write(RUN, Verdict.at(), Verdict("failed", str(n))) for n, writer in enumerate(writers))
        )
    winners = [n for n, result in enumerate(results) if result.mine]
    assert len(winners) == 1
    assert {result.record.code for result in results} == {str(winners[0])}


async def test_records_are_json_that_a_person_can_read(ledger: Ledger, objects: MemoryObjects) -> None:
    await ledger.write(RUN, Verdict.at(), Verdict("failed", "timeout"))
    content = await objects.get("ledger/u/t/0-0/verdict")
    assert content.info.content_type == "application/json"
    document = msgspec.json.decode(content.body)
    assert document["record"] == {
        "status": "failed",
        "code": "timeout",
        "manifest": [],
        "job": "",
        "degraded": [],
        "text": "",
    }


async def test_a_record_of_a_newer_build_is_read_and_its_new_fields_are_skipped(
    ledger: Ledger, objects: MemoryObjects
) -> None:
    newer = {"nonce": "n", "shard": 7, "record": {"http_status": 200, "conflict": False, "region": "gz"}}
    await objects.put_new(record_key(RUN, "delivered"), msgspec.json.encode(newer))
    stored = await ledger.read(RUN, Delivered.at())
    assert stored is not None
    assert stored.record == Delivered(200)


BROKEN = {
    "empty": b"",
    "no JSON": b"\xff\xfe",
    "cut": b'{"nonce":"n","record":{"status":"succ',
    "a list": b"[]",
    "no nonce": b'{"record":{"status":"failed"}}',
    "no record": b'{"nonce":"n"}',
    "another record": b'{"nonce":"n","record":{"http_status":200}}',
    "an unknown status": b'{"nonce":"n","record":{"status":"maybe"}}',
    "a wrong type": b'{"nonce":"n","record":{"status":"failed","code":7}}',
    "UTF-16": '{"nonce":"n","record":{"status":"failed"}}'.encode("utf-16"),
    "a surrogate": b'{"nonce":"n","record":{"status":"failed","code":"\xed\xa0\x80"}}',
    "very deep": b'{"nonce":"n","record":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_record_that_cannot_be_read_is_told_and_never_overwritten(
    name: str, ledger: Ledger, objects: MemoryObjects
) -> None:
    key = record_key(RUN, "verdict")
    await objects.put_new(key, BROKEN[name])
    with pytest.raises(Permanent, match="ledger/u/t/0-0/verdict"):
        await ledger.verdict(RUN)
    with pytest.raises(Permanent, match="cannot be read"):
        await ledger.write(RUN, Verdict.at(), Verdict("success"))
    assert (await objects.get(key)).body == BROKEN[name]


async def test_what_the_store_refuses_is_told_as_such(ledger: Ledger, objects: MemoryObjects) -> None:
    async def refuse(operation: str, key: str, *, done: bool) -> None:
        raise Denied(f"{operation} {key}")

    objects.faults = refuse
    with pytest.raises(Denied):
        await ledger.write(RUN, Verdict.at(), Verdict("success"))
    with pytest.raises(Denied):
        await ledger.verdict(RUN)


async def test_a_refused_write_is_told_as_such_though_reads_are_allowed(ledger: Ledger, objects: MemoryObjects) -> None:
    async def refuse(operation: str, key: str, *, done: bool) -> None:
        if operation == "put_new":
            raise Denied(f"{operation} {key}")

    objects.faults = refuse
    with pytest.raises(Denied):
        await ledger.write(RUN, Verdict.at(), Verdict("success"))


# ---- time ------------------------------------------------------------------------------------------------------------


async def test_a_record_has_the_stores_time(ledger: Ledger, clock: Clock, store_clock: Clock) -> None:
    store_clock.now = clock.now + 500.0
    written = await ledger.write(RUN, Intent.at(1, 1), Intent("x", 1.0))
    assert written.at == store_clock.now
    store_clock.now += 60.0
    read = await ledger.read(RUN, Intent.at(1, 1))
    assert read is not None
    assert read.at == written.at


@pytest.mark.parametrize("skew", [-86_400.0, -5.0, 5.0, 86_400.0])
async def test_now_is_the_stores_time_once_it_has_answered(
    ledger: Ledger, clock: Clock, store_clock: Clock, skew: float
) -> None:
    store_clock.now = clock.now + skew
    assert ledger.now() == clock.now
    await ledger.write(RUN, Intent.at(1, 1), Intent("x", 1.0))
    assert ledger.now() == store_clock.now
    clock.now += 10.0
    assert ledger.now() == store_clock.now + 10.0


async def test_a_read_tells_the_time_too_and_a_clock_set_right_is_noticed(
    ledger_of: Callable[[str], Ledger], clock: Clock, store_clock: Clock
) -> None:
    await ledger_of("a").write(RUN, Intent.at(1, 1), Intent("x", 1.0))
    other = ledger_of("b")
    store_clock.now = clock.now + 100.0
    await other.read(RUN, Intent.at(1, 1))
    assert other.now() == clock.now + 100.0
    clock.now = store_clock.now
    other.cache.clear()
    await other.read(RUN, Intent.at(1, 1))
    assert other.now() == clock.now


@pytest.mark.parametrize("there", [False, True])
async def test_listings_tell_the_time_too(
    ledger_of: Callable[[str], Ledger], clock: Clock, store_clock: Clock, *, there: bool
) -> None:
    """The sweep only lists: with a clock that is behind it would find no stalled run."""
    store_clock.now = clock.now + 200.0
    if there:
        await ledger_of("a").write(RUN, Intent.at(1, 1), Intent("x", 1.0))
    listing, asking = ledger_of("b"), ledger_of("c")
    await listing.trail(RUN)
    assert listing.now() == store_clock.now
    assert await asking.ask_time() == asking.now() == store_clock.now


@pytest.mark.parametrize("skew", [-1.9, -0.4, 0.4, 1.9])
async def test_a_difference_that_whole_seconds_explain_is_none(
    ledger: Ledger, clock: Clock, store_clock: Clock, skew: float
) -> None:
    store_clock.now = float(int(clock.now + skew))
    await ledger.write(RUN, Intent.at(1, 1), Intent("x", 1.0))
    assert ledger.now() == clock.now


def test_an_answer_without_a_time_teaches_nothing(ledger: Ledger, clock: Clock) -> None:
    ledger.learn(0.0)
    assert ledger.now() == clock.now


@pytest.mark.parametrize(
    ("date", "learnt"), [(1000.0, 0.0), (1150.0, 0.0), (1300.0, 0.0), (990.0, -10.0), (1310.0, 10.0)]
)
def test_an_answer_that_comes_late_is_no_proof_of_a_wrong_clock(
    ledger: Ledger, clock: Clock, date: float, learnt: float
) -> None:
    clock.now = 1300.0
    ledger.learn(date, asked=1000.0)
    assert ledger.now() == clock.now + learnt


async def test_a_mark_tells_whose_it_is(ledger_of: Callable[[str], Ledger]) -> None:
    one, other = ledger_of("a"), ledger_of("b")
    mine = await one.write(RUN, Begun.at("clean", 3), Begun("m1", 0, 60.0))
    assert mine.mine
    # The same message after its process died: its id, and not its nonce.
    again = await other.write(RUN, Begun.at("clean", 3), Begun("m1", 0, 60.0))
    assert (again.mine, again.record.message_id) == (False, "m1")
    foreign = await other.write(RUN, Begun.at("clean", 3), Begun("m2", 0, 60.0))
    assert (foreign.mine, foreign.record.message_id) == (False, "m1")
    assert (await other.write(RUN, Begun.at("generate", 3), Begun("m2", 0, 60.0))).mine
    assert (await other.write(RUN, Begun.at("clean", 4), Begun("m2", 0, 60.0))).mine
