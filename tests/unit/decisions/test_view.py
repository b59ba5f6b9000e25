"""The read model: a faithful view of any set of records."""

from __future__ import annotations

import itertools
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.bodies import Stage
from messages.codes import Code
from messages.keys import RunId, record_key
from services.objects.memory import MemoryObjects
from tasks.ledger.ledger import Ledger
from tasks.ledger.names import RecordBase, RecordName
from tasks.ledger.records import (
    RECORDS,
    Accepted,
    Begun,
    CallEnd,
    CallResult,
    Cleaned,
    Collected,
    Delivered,
    Intent,
    JobId,
    ManifestItem,
    Reopened,
    SlotEnd,
    Staged,
    StagedResult,
    Stopped,
    Verdict,
    Waits,
    Withdrawn,
    parse_name,
)
from tasks.ledger.snapshot import PaidCall
from tasks.view import Progress, View, read_view, stage_after, view_of

RUN: Final = RunId("u1", "t1")
ITEM: Final = ManifestItem("staging/u1/t1/0-0/n/frame_01.jpg", "output/u1/t1/frame_01.jpg", "aa", 5)
ACCEPTED: Final = Accepted("model_pose12", {}, (), created=1.0, deadline=1801.0)

Pair = tuple[RecordName[Any], RecordBase]


def mark(stage: str, seq: int, slot: int | None = None) -> Pair:
    return Begun.at(stage, seq, slot), Begun("m1", 0, 60.0)


LIFE: Final[tuple[Pair, ...]] = (
    (Accepted.at(), ACCEPTED),
    mark("clean", 0),
    (Cleaned.at(), Cleaned(())),
    mark("generate", 0, 1),
    (Intent.at(1, 1), Intent("runninghub", 120.0)),
    (CallEnd.at(1, 1), CallEnd("not_accepted", Code.BUSY)),
    mark("generate", 1, 1),
    (Intent.at(1, 2), Intent("runninghub", 120.0)),
    (JobId.at(1, 2), JobId("job2")),
    mark("poll", 0, 1),
    mark("poll", 8, 1),
    mark("collect", 0),
    (Verdict.at(), Verdict("success", "", (ITEM,), "job2")),
    mark("notify", 0),
)
"""A run that goes well, after a vendor that was full, up to its verdict."""


def view(*pairs: Pair, read: bool = True, start: float = 1_000.0) -> View:
    """The view of records that were stored a second apart."""
    trail = {name.text: start + n for n, (name, _) in enumerate(pairs)}
    return view_of(RUN, trail, {name.text: record for name, record in pairs} if read else {})


@pytest.mark.parametrize("length", range(1, len(LIFE) + 1))
def test_where_a_run_is_and_which_stage_goes_on_from_its_newest_record_agree(length: int) -> None:
    seen = view(*LIFE[:length])
    assert seen.stage is stage_after(LIFE[length - 1][0].text)
    assert seen.state == ("ended" if length > 12 else "working")


@pytest.mark.parametrize("length", range(len(LIFE) + 1))
def test_stage_and_timeline_need_no_record_to_be_read(length: int) -> None:
    whole, listed = view(*LIFE[:length]), view(*LIFE[:length], read=False)
    assert (listed.stage, listed.state) == (whole.stage, whole.state)
    assert [entry.name for entry in listed.timeline] == [entry.name for entry in whole.timeline]


def test_a_run_of_which_nothing_is_known() -> None:
    seen = view()
    assert (seen.state, seen.stage, seen.timeline, seen.progress) == ("absent", None, (), Progress(0, 1))


def test_a_delivered_success() -> None:
    seen = view(*LIFE, (Delivered.at(), Delivered(200)))
    assert (seen.state, seen.stage, seen.progress) == ("delivered", None, Progress(1, 1))
    assert seen.results == (ITEM,)
    assert seen.delivered == Delivered(200)
    assert seen.accepted == ACCEPTED
    refused = CallEnd("not_accepted", Code.BUSY)
    assert seen.calls == (
        PaidCall(1, 1_004.0, 120.0, end=refused, vendor="runninghub"),
        PaidCall(2, 1_007.0, 120.0, job="job2", vendor="runninghub"),
    )


@pytest.mark.parametrize(
    "after",
    [
        [(Delivered.at(), Delivered(409, conflict=True, contrary=True))],
        [(Delivered.at(), Delivered(409, conflict=True)), (Withdrawn.at(), Withdrawn())],
    ],
)
def test_results_that_were_withdrawn_are_none(after: list[Pair]) -> None:
    assert view(*LIFE, *after).results == ()


def test_a_job_that_failed_leaves_the_run_where_a_call_would_be_made() -> None:
    seen = view(*LIFE[:11], (CallEnd.at(1, 2), CallEnd("failed")))
    assert seen.stage is Stage.GENERATE


def test_results_that_came_with_the_answer_are_brought_home_and_their_urls_are_not_shown() -> None:
    answered: list[Pair] = [*LIFE[:5], (CallResult.at(1, 1), CallResult(("https://vendor.example/1.png",)))]
    seen = view(*answered)
    assert seen.stage is Stage.POLL
    assert view(*answered, (SlotEnd.at(1), SlotEnd(good=True, n=1))).stage is Stage.COLLECT
    assert [call.answered for call in seen.calls] == [True]
    assert view(*answered, (CallEnd.at(1, 1), CallEnd("failed"))).stage is Stage.GENERATE


def test_slots_that_a_run_needs_are_counted() -> None:
    slots: list[Pair] = [(Intent.at(1, 1), Intent("v", 1.0)), (Intent.at(3, 1), Intent("v", 1.0, "main"))]
    sold = msgspec.structs.replace(LIFE[0][1], slots=3, enough=2)
    seen = view((LIFE[0][0], sold), *slots)
    assert seen.progress == Progress(0, 3)
    ends: list[Pair] = [(SlotEnd.at(1), SlotEnd(good=True, n=1)), (SlotEnd.at(3), SlotEnd(good=False))]
    assert view((LIFE[0][0], sold), *slots, *ends).progress == Progress(1, 3)
    assert [(call.slot, call.label) for call in seen.calls] == [(1, ""), (3, "main")]


def test_a_success_with_fewer_results_says_how_many_of_those_ordered_are_shown() -> None:
    files = tuple(StagedResult(f"staging/u1/t1/0-0/n/frame_{n:02d}.jpg", "aa", 5, slot=n) for n in (1, 2, 4))
    shown = tuple(ManifestItem(file.key, f"output/u1/t1/{file.slot}.jpg", "aa", 5) for file in files[:2])
    sold = msgspec.structs.replace(ACCEPTED, slots=4, enough=2)
    ends: list[Pair] = [(SlotEnd.at(n), SlotEnd(good=n != 3, n=1)) for n in range(1, 5)]
    before: list[Pair] = [(Accepted.at(), sold), *ends, (Staged.at(), Staged(files))]
    assert view(*before).progress == Progress(3, 4)
    # The audit has blocked the fourth.
    assert view(*before, (Verdict.at(), Verdict("success", manifest=shown))).progress == Progress(2, 4)
    assert view(*before[:1], (Verdict.at(), Verdict("success", text="a prompt"))).progress == Progress(4, 4)


def test_why_a_run_waits_until_it_takes_a_step() -> None:
    first, second = Waits("busy", 2_000.0, 1_000.0), Waits("busy", 3_000.0, 1_000.0)
    waiting: list[Pair] = [*LIFE[:4], (Waits.at("generate", 0, 1), first), (Waits.at("generate", 1, 1), second)]
    assert view(*waiting).waits == second
    assert view(*waiting, mark("generate", 2, 1)).waits == second
    assert view(*waiting, *LIFE[4:5]).waits is None
    assert view(*waiting, LIFE[12]).waits is None


def test_what_was_given_up_stands_in_its_order() -> None:
    one, other = Stopped("attempts", "busy", "A"), Stopped("permanent", "internal", "B")
    seen = view(LIFE[0], (Stopped.at("generate", 4, 1), one), (Stopped.at("clean", 0), other))
    assert seen.stopped == (one, other)


def test_records_of_one_second_stand_in_the_order_of_a_life() -> None:
    trail = {name.text: 1_000.0 for name, _ in reversed(LIFE)}
    names = [entry.name for entry in view_of(RUN, trail, {}).timeline]
    assert names[0] == "accepted"
    assert names.index("cleaned") < names.index("call-1-1") < names.index("call-1-2-id") < names.index("verdict")


NAMES: Final = [
    *[name.text for name, _ in LIFE],
    *["delivered", "withdrawn", "reopened", "reopen_denied", "collected-3"],
    *["waits-generate.1-0", "stopped-clean-4", "call-2-1", "call-2-1-result", "of a newer build", "begun-", "call-0-1"],
]


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 2e9), max_size=20))
def test_whatever_is_listed_has_a_view(trail: dict[str, float]) -> None:
    seen = view_of(RUN, trail, {})
    assert sorted(entry.name for entry in seen.timeline) == sorted(trail)
    times = [entry.at for entry in seen.timeline]
    assert times == sorted(times)
    assert (seen.stage is None) == (seen.state in {"absent", "delivered"})
    assert (seen.state == "delivered") == ("delivered" in trail)
    assert 0 <= seen.progress.done <= seen.progress.of


@given(st.sets(st.sampled_from(LIFE[1:])))
def test_a_record_more_never_hides_what_was_there(chosen: set[Pair]) -> None:
    pairs = [LIFE[0], *(pair for pair in LIFE[1:] if pair in chosen)]
    for more, fewer in itertools.pairwise([pairs[:n] for n in range(len(pairs), 0, -1)]):
        assert {call.n for call in view(*fewer).calls} <= {call.n for call in view(*more).calls}
        assert len(view(*fewer).timeline) == len(view(*more).timeline) - 1


@pytest.mark.parametrize("kind", RECORDS)
def test_every_record_leads_to_a_stage(kind: type[RecordBase]) -> None:
    text = kind.template.format(slot=1, n=1, seq=0, place="collect")
    parsed = parse_name(text)
    assert parsed is not None
    assert parsed.kind is kind
    assert isinstance(stage_after(text), Stage)


async def test_reading_a_run_reads_all_but_its_marks_and_survives_what_it_cannot_read() -> None:
    objects = MemoryObjects(bucket="ledger-1250000000", clock=lambda: 1_000.0)
    ledger = Ledger(objects, clock=lambda: 1_000.0, nonce=iter("abcdefghijklmnopqrstuvwxyz").__next__)
    urls = CallResult(("https://vendor.example/1.png",))
    for name, record in [*LIFE, (Collected.at(0), Collected(())), (CallResult.at(1, 3), urls)]:
        await ledger.write(RUN, name, record)
    await ledger.write(RunId("u1", "t1", 0, 1), Reopened.at(), Reopened())
    await objects.put(record_key(RUN, "delivered"), b"?")
    seen = await read_view(RUN, ledger)
    assert seen.state == "delivered"
    assert seen.delivered is None
    assert seen.results == (ITEM,)
    assert {entry.name for entry in seen.timeline} == {name.text for name, _ in LIFE} | {
        "collected-0",
        "delivered",
        "call-1-3-result",
    }
    unread = {entry.name for entry in seen.timeline if entry.record is None}
    assert unread == {
        "delivered",
        "call-1-3-result",
        *(name.text for name, record in LIFE if isinstance(record, Begun)),
    }
    assert msgspec.json.encode(seen.calls)
