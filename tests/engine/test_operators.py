"""Dead letters for operators: lists, groups, one whole letter, and the end of a purge; on virtual time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from console.cli.dead import display
from messages import codec
from messages.bodies import Reason, Stage, Wake
from messages.codec import Message, encode, new_header
from messages.errors import Permanent
from messages.keys import RunId
from messages.signing import MessageKey, MessageKeys
from messages.topics import dead_letter_topic
from services.errors import ObjectsDown
from services.vendors.port import JobState
from tasks.dead_letters.groups import group_cases
from tasks.dead_letters.letters import parse_id
from tasks.dead_letters.plan import Action, Refusal, decide
from tasks.dead_letters.purge import finish_purges, purge_all
from tasks.dead_letters.replay import Request, replay_all
from tasks.dead_letters.selection import NoSuchLetter, Selection, select
from tasks.dead_letters.standing import Case
from tasks.ledger.operators import Purged, Replayed
from tasks.ledger.records import DeadLetter
from tests.engine.fault_injector import calls, dies, raises
from tests.engine.harness import Harness
from tests.engine.standins import Plan

NEVER = "never: https://cdn.example/a?sign=abc"


async def cases(harness: Harness, **selection: Any) -> list[Case]:
    return await select(msgspec.convert(selection, Selection), harness.ledger, harness.out.keys)


async def two_causes(harness: Harness) -> None:
    """Three tasks whose vendor fails, and one whose cleaning meets an error."""
    harness.vendor.plans.extend(Plan(end=JobState.FAILED) for _ in range(3))
    for _ in range(3):
        await harness.order()
    await harness.drain()
    await asyncio.sleep(60)
    await harness.order("basic_clean")
    harness.injector.strike("objects.process", raises(Permanent(NEVER)))
    await harness.drain()


async def test_letters_of_one_cause_are_one_row(harness: Harness) -> None:
    await two_causes(harness)
    vendor, clean = group_cases(await cases(harness))
    assert (vendor.count, vendor.kinds, vendor.stage, vendor.code) == (3, ("model_pose12",), "poll", "vendor_failed")
    assert (vendor.error, vendor.refunded, vendor.replayed) == ("VendorFailed", 3, 0)
    assert vendor.first <= vendor.last
    assert (clean.count, clean.kinds, clean.error) == (1, ("basic_clean",), "Permanent")
    assert clean.place.startswith("services.objects.memory")
    assert "sign=abc" not in clean.detail
    request = Request(by="amara", rate=0)
    async for _ in replay_all((await cases(harness))[:2], request, harness.out):
        pass
    assert group_cases(await cases(harness))[0].replayed == 2


async def test_a_selection_narrows(harness: Harness) -> None:
    await two_causes(harness)
    everything = await cases(harness)
    assert [case.letter.at for case in everything] == sorted(case.letter.at for case in everything)
    clean = everything[-1].letter
    assert [case.letter for case in await cases(harness, kind="basic_clean")] == [clean]
    assert [case.letter for case in await cases(harness, code="internal")] == [clean]
    assert [case.letter for case in await cases(harness, fingerprint=clean.id.fingerprint)] == [clean]
    assert [case.letter for case in await cases(harness, since=clean.at)] == [clean]
    assert await cases(harness, since=clean.at + 1) == []
    for text in (clean.id.text, clean.id.key, clean.id.name):
        assert [case.letter for case in await cases(harness, ids=[text, text])] == [clean]


@pytest.mark.parametrize("text", ["nothing", "../../ledger/u1", "", "2026-01-01/0123456789ab/no-such", "a/b"])
async def test_an_id_that_names_no_letter_is_an_error(harness: Harness, text: str) -> None:
    await two_causes(harness)
    with pytest.raises(NoSuchLetter, match="dead list"):
        await cases(harness, ids=[text])


async def test_a_name_of_two_letters_asks_for_more(harness: Harness) -> None:
    await two_causes(harness)
    first = (await cases(harness))[0].letter
    record = first.record
    assert record is not None
    await harness.ledger.write_key(f"dead/2026-01-01/0123456789ab/{first.id.name}", record)
    with pytest.raises(NoSuchLetter, match="names 2 dead letters"):
        await cases(harness, ids=[first.id.name])


def test_an_id_is_read_as_it_is_shown() -> None:
    assert parse_id("2026-01-31/0123456789ab/15-7") == ("2026-01-31", "0123456789ab", "15-7")
    assert parse_id("dead/2026-01-31/0123456789ab/15-7/") == ("2026-01-31", "0123456789ab", "15-7")
    assert parse_id("15-7") == ("", "", "15-7")
    assert parse_id("2026-01-31/15-7") is None


async def test_a_letter_is_shown_whole(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    await two_causes(harness)
    case = (await cases(harness))[0]
    async for _ in replay_all([case], Request(by="amara", why="mended", rate=0), harness.out):
        pass
    await harness.drain()
    (case,) = await cases(harness, ids=[case.letter.id.name])
    shown = display.whole_document(case)
    json.dumps(shown)
    assert {"topic", "stage", "kind", "task", "user", "attempt", "code", "error", "place", "trace_id"} <= shown.keys()
    assert shown["verdict"] == "failed"
    assert shown["refunded"] is True
    assert shown["message"]["header"]["task"] == shown["task"]
    assert [(run["run"], run["status"], run["delivered"]) for run in shown["runs"]] == [
        (0, "failed", True),
        (1, "success", True),
    ]
    assert [(one["by"], one["why"], one["action"]) for one in shown["replays"]] == [("amara", "mended", "new_run")]
    assert shown["replay"]["does"] == "succeeded"
    display.show_whole(case)
    display.show_letters([case])
    display.show_groups(group_cases([case]))
    printed = capsys.readouterr().out
    assert case.letter.id.text in printed
    assert "amara" in printed
    assert "1 dead letter\n" in printed


async def test_a_letter_that_this_build_cannot_read_is_listed_and_purged(harness: Harness) -> None:
    await harness.ledger.objects.put("dead/2026-01-01/0123456789ab/15-7", b"?")
    (case,) = await cases(harness)
    assert display.whole_document(case)["readable"] is False
    assert decide(case).does is Refusal.UNREADABLE
    assert group_cases([case])[0].count == 1
    display.show_letters([case])
    assert [one.id.name async for one in purge_all([case.letter], "amara", "", harness.ledger)] == ["15-7"]
    assert await cases(harness) == []


async def test_a_purge_deletes_letters_and_leaves_their_runs(harness: Harness) -> None:
    await two_causes(harness)
    before = await cases(harness)
    async for _ in purge_all([case.letter for case in before[:2]], "amara", "a test", harness.ledger):
        pass
    left = await cases(harness)
    assert left == before[2:]
    for case in before[:2]:
        assert await harness.ledger.read_key(case.letter.id.key, DeadLetter) is None
        audit = await harness.ledger.read_key(f"{case.letter.id.key}/purged", Purged)
        assert audit is not None
        record = case.letter.record
        assert record is not None
        assert (audit.record.by, audit.record.why, audit.record.task) == ("amara", "a test", record.task)
        run = RunId(record.user, record.task)
        await harness.promise(run, "failed", record.code)
    # The failure function handles the letter once more: it stays purged.
    record = before[0].letter.record
    assert record is not None
    await harness.ledger.write_key(before[0].letter.id.key, record)
    assert await cases(harness) == left


async def test_a_purge_that_stops_goes_on(harness: Harness) -> None:
    await two_causes(harness)
    letters = [case.letter for case in await cases(harness)]
    harness.injector.strike("ledger.delete", raises(ObjectsDown("503")))
    with pytest.raises(ObjectsDown):
        async for _ in purge_all(letters, "amara", "", harness.ledger):
            pass
    async for _ in purge_all([case.letter for case in await cases(harness)], "amara", "", harness.ledger):
        pass
    assert await cases(harness) == []


async def test_a_purge_that_died_before_it_deleted_its_letter_is_completed_by_the_next(harness: Harness) -> None:
    await two_causes(harness)
    first, *rest = [case.letter for case in await cases(harness)]

    async def command() -> None:
        async for _ in purge_all([first], "amara", "", harness.ledger):
            pass

    harness.injector.strike("ledger.delete", dies())
    assert not await harness.survives(command())
    assert [case.letter for case in await cases(harness)] == rest
    assert await harness.ledger.read_key(first.id.key, DeadLetter) is not None
    await finish_purges(harness.ledger)
    assert await harness.ledger.read_key(first.id.key, DeadLetter) is None
    assert [case.letter for case in await cases(harness)] == rest


async def test_a_purge_keeps_a_name_that_is_no_unicode_as_far_as_it_is(harness: Harness) -> None:
    await two_causes(harness)
    letter = (await cases(harness))[0].letter
    async for _ in purge_all([letter], "amara\udcff", "\udcd4", harness.ledger):
        pass
    audit = await harness.ledger.read_key(f"{letter.id.key}/purged", Purged)
    assert audit is not None
    assert (audit.record.by, audit.record.why) == ("amara?", "?")


async def test_a_letter_that_goes_while_it_is_read_is_an_unknown_id(harness: Harness) -> None:
    await two_causes(harness)
    letter = (await cases(harness))[0].letter

    async def purge() -> None:
        await harness.ledger.objects.delete([letter.id.key])

    harness.injector.strike(f"ledger.get {letter.id.key}", calls(purge))
    with pytest.raises(NoSuchLetter, match="dead list"):
        await cases(harness, ids=[letter.id.text])


async def test_an_id_is_found_without_a_list_of_all_letters(harness: Harness) -> None:
    await two_causes(harness)
    letter = (await cases(harness))[0].letter
    for n in range(1200):
        await harness.ledger.objects.put(f"{letter.id.key.rpartition('/')[0]}/n{n}", b"?")
    before = harness.injector.count("ledger.list")
    assert len(await cases(harness, ids=[letter.id.text] * 2)) == 1
    assert harness.injector.count("ledger.list") - before == 2
    before = harness.injector.count("ledger.list")
    names = [case.letter.id.name for case in await cases(harness, code="internal")]
    listed = harness.injector.count("ledger.list") - before
    before = harness.injector.count("ledger.list")
    await cases(harness, ids=[letter.id.name, *names])
    assert harness.injector.count("ledger.list") - before == listed


# ---- letters that were unreadable --------------------------------------------------------------------------------


async def test_a_later_build_takes_up_what_an_older_one_could_not_read(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await harness.order()
    with monkeypatch.context() as older:
        older.delitem(codec._BODIES, Stage.COLLECT)
        while not await cases(harness):
            await harness.step()
        (case,) = await cases(harness)
        assert case.letter.record is not None
        assert case.letter.record.reason == Reason.UNREADABLE
        assert case.letter.record.original.startswith('[[1,"collect"'), "it is kept whole"
        assert decide(case).does is Refusal.UNREADABLE
    (case,) = await cases(harness)
    assert decide(case).does is Action.WAKE
    async for step in replay_all([case], Request(by="amara", rate=0), harness.out):
        assert step.plan.does is Action.WAKE
    await harness.drain()
    await harness.promise(run, "success")
    (case,) = await cases(harness)
    assert [audit.action for audit in case.letter.replays] == ["wake"]
    assert decide(case).does is Refusal.SUCCEEDED


@pytest.mark.parametrize("key", ["a key of a stranger, 32 bytes long", ""])
async def test_a_letter_with_a_wrong_signature_is_only_shown_and_purged(harness: Harness, key: str) -> None:
    run = await harness.order()
    keys = MessageKeys([MessageKey("t1", key.encode())]) if key else None
    forged = encode(Message(new_header(run, Stage.WAKE, harness.now()), Wake("replay")), keys)
    await harness.wire.publish("wake", forged)
    await harness.drain()
    (case,) = await cases(harness)
    assert decide(case, again=True).does is Refusal.BAD_SIGNATURE
    sent = len(harness.wire.sent)
    async for step in replay_all([case], Request(by="amara", rate=0), harness.out):
        assert not step.plan.acts
    assert len(harness.wire.sent) == sent
    assert await harness.ledger.read_key(f"{case.letter.id.key}/replayed-1", Replayed) is None


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"x" * 8_000, b"[]", b'[[1,"wake","-","-",0,0,0,0,0],["sweep"]]'])
async def test_what_no_build_can_read_is_kept_and_refused(harness: Harness, payload: bytes) -> None:
    await harness.wire.publish("wake", payload)
    await harness.wire.publish(dead_letter_topic("wake"), payload)
    await harness.drain()
    for case in await cases(harness):
        assert decide(case).does in {Refusal.UNREADABLE, Refusal.BAD_SIGNATURE}
        json.dumps(display.whole_document(case))
        display.show_whole(case)
