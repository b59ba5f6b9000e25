"""Events that are malformed, that report something else, or that hold one bad record among good ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from messages.errors import ScfWorkersError
from messages.keys import RunId
from producer.cos_trigger import take_event
from tests.bad_input import pictures
from tests.bad_input.harness import event, record
from tests.engine.fault_injector import raises

if TYPE_CHECKING:
    from tests.bad_input.harness import TicketHarness

KEY = "input/u1/t1/original.jpg"


def without(*path: str) -> dict[str, Any]:
    """A record in which something is missing."""
    made = record(KEY)
    place: Any = made
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return made


def with_(value: Any, *path: str) -> dict[str, Any]:
    """A record in which something is something else."""
    made = record(KEY)
    place: Any = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return made


NO_EVENTS: Mapping[str, Any] = {
    "null": None,
    "a list": [record(KEY)],
    "a text": "Records",
    "a number": 7,
    "nothing": {},
    "another trigger's": {"Type": "Timer", "TriggerName": "sweep", "Message": ""},
    "records that are a dict": {"Records": record(KEY)},
    "records that are a text": {"Records": "x" * 50},
    "records that are null": {"Records": None},
    "no records": {"Records": []},
}

NO_UPLOADS: Mapping[str, Any] = {
    "null": None,
    "a text": "x",
    "a list": [],
    "a number": 0,
    "no cos": without("cos"),
    "no object": without("cos", "cosObject"),
    "no key": without("cos", "cosObject", "key"),
    "no bucket": without("cos", "cosBucket"),
    "no bucket's name": without("cos", "cosBucket", "name"),
    "no event": without("event"),
    "no event's name": without("event", "eventName"),
    "a key that is a list": with_([KEY], "cos", "cosObject", "key"),
    "a key that is a dict": with_({"key": KEY}, "cos", "cosObject", "key"),
    "a key without bucket": with_("original.jpg", "cos", "cosObject", "key"),
    "an object that is a text": with_("x", "cos", "cosObject"),
    "a delete": record(KEY, name="cos:ObjectRemove:Delete"),
    "a delete marker": record(KEY, name="cos:ObjectRemove:DeleteMarkerCreated"),
    "a restore": record(KEY, name="cos:ObjectRestore:Completed"),
    "S3's name": record(KEY, name="ObjectCreated:Put"),
    "another case": record(KEY, name="COS:OBJECTCREATED:PUT"),
    "a name that is a list": with_(["cos:ObjectCreated:Put"], "event", "eventName"),
    "another bucket": record(KEY, bucket="others-1250000000"),
    "another account's bucket": record(KEY, bucket="photos-1259999999"),
    "the ledger's bucket": record(KEY, bucket="ledger-1250000000"),
}


@pytest.mark.parametrize("name", NO_EVENTS)
async def test_what_is_no_event_is_ignored(harness: TicketHarness, name: str) -> None:
    await put_original(harness)
    counts = await take_event(NO_EVENTS[name], harness.out)
    assert not {what for what, count in counts.items() if count}
    await harness.untouched()


@pytest.mark.parametrize("name", NO_UPLOADS)
async def test_a_record_that_tells_of_no_upload_of_ours_is_ignored(harness: TicketHarness, name: str) -> None:
    await put_original(harness)
    assert await take_event({"Records": [NO_UPLOADS[name]]}, harness.out) == {"ignored": 1}
    await harness.untouched()


COMPANY = ("null", "a text", "no cos", "a delete", "another bucket", "ids that are none", "a refused upload", "gone")


@pytest.mark.parametrize(("place", "name"), [(n % 3 * 24, name) for n, name in enumerate(COMPANY)])
async def test_one_bad_record_among_fifty_spoils_nothing(harness: TicketHarness, name: str, place: int) -> None:
    runs, records = await fifty(harness)
    bad, counted = await bad_record(harness, name)
    records[place : place + 1] = [bad]
    spared = [run for number, run in enumerate(runs) if number != place]
    counts = await take_event({"Records": records}, harness.out)
    assert {what: count for what, count in counts.items() if count} == {"accepted": 49, counted: 1}
    for run in spared:
        assert await harness.ledger.accepted(run) is not None
    assert await harness.ledger.accepted(runs[place]) is None


@pytest.mark.parametrize("error", [ScfWorkersError("away"), RuntimeError("a defect of ours")])
async def test_a_record_that_breaks_is_asked_for_again_when_the_others_are_done(
    harness: TicketHarness, error: Exception
) -> None:
    runs, records = await fifty(harness)
    harness.injector.strike(f"objects.head input/{runs[3].user}/{runs[3].task}/", raises(error))
    with pytest.raises(type(error)):
        await take_event({"Records": records}, harness.out)
    assert [await harness.ledger.accepted(run) is None for run in runs].count(True) == 1
    counts = await take_event({"Records": records}, harness.out)
    assert (counts["accepted"], counts["again"]) == (1, 49)


async def test_the_same_record_fifty_times_is_one_task(harness: TicketHarness) -> None:
    run = harness.sell()
    meta = {"kind": "basic_clean", "ticket": harness.ticket(run)}
    key = await harness.put(run, "original.jpg", pictures.jpeg(), meta)
    await take_event(event(*[key] * 50), harness.out)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.heard(run) == ["success"]


async def put_original(harness: TicketHarness) -> None:
    await harness.put(RunId("u1", "t1"), "original.jpg", pictures.jpeg(), {"kind": "basic_clean"})


async def fifty(harness: TicketHarness) -> tuple[list[RunId], list[Any]]:
    """Fifty uploads that are sound."""
    runs = [harness.sell() for _ in range(50)]
    keys = [
        await harness.put(run, "original.jpg", b"\xff\xd8\xff", {"kind": "basic_clean", "ticket": harness.ticket(run)})
        for run in runs
    ]
    return runs, event(*keys)["Records"]


async def bad_record(harness: TicketHarness, name: str) -> tuple[Any, str]:
    if name == "ids that are none":
        return record("input/../t1/original.jpg"), "rejected"
    if name == "gone":
        return record("input/u1/gone/original.jpg"), "rejected"
    if name == "a refused upload":
        run = harness.sell()
        key = await harness.put(run, "original.jpg", b"x", {"kind": "basic_clean", "ticket": "forged"})
        return record(key), "rejected"
    return NO_UPLOADS[name], "ignored"


async def test_an_upload_that_is_gone_when_its_event_comes_is_as_if_it_never_came(harness: TicketHarness) -> None:
    run = harness.sell()
    assert await harness.deliver(f"input/{run.user}/{run.task}/original.jpg") == {"rejected": 1}
    await harness.unheard(run)
