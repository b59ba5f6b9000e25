"""Decisions of a wake: a whole small state space, and the few rules that must hold in it."""

from __future__ import annotations

import itertools

import pytest

from messages.bodies import Stage
from messages.codes import Code
from messages.keys import RunId
from tasks.ledger import records
from tasks.ledger.records import Accepted, Verdict
from tasks.ledger.snapshot import Highest, PaidCall, Snapshot, live_jobs, open_calls
from tasks.next_step import (
    AskInput,
    AskReopen,
    AwaitBuild,
    DeadCall,
    DenyReopen,
    Expire,
    FinishRun,
    Look,
    Needs,
    Nothing,
    Publish,
    Step,
    next_step,
)

NOW = 1_000.0
OPEN_S = 120.0

DEADLINES = (None, NOW + 600, NOW + 0.001, NOW, NOW - 600)
"""None: the run was not accepted."""

VERDICTS = (None, Verdict("success"), Verdict("failed", "timeout"), Verdict("cancelled", "cancelled"))

_LIVE = PaidCall(1, NOW - 10, OPEN_S, job="job-1")
_OPEN = PaidCall(1, NOW - 10, OPEN_S)
_OLD = PaidCall(1, NOW - 500, OPEN_S)
_NOT_ACCEPTED = PaidCall(1, NOW - 500, OPEN_S, end=records.CallEnd("not_accepted", Code.BUSY))
_FAILED = PaidCall(1, NOW - 500, OPEN_S, job="job-1", end=records.CallEnd("failed", Code.CONTENT_VIOLATION))
_SECOND = PaidCall(2, NOW - 10, OPEN_S, job="job-2")

CALLS: dict[str, tuple[PaidCall, ...]] = {
    "none": (),
    "live": (_LIVE,),
    "open": (_OPEN,),
    "old": (_OLD,),
    "not accepted": (_NOT_ACCEPTED,),
    "failed": (_FAILED,),
    "two live": (_LIVE, _SECOND),
    "failed, another live": (_FAILED, _SECOND),
}

BEGUN: tuple[tuple[Highest, ...], ...] = (
    (),
    (Highest("clean", 0, 0),),
    (Highest("clean", 0, 4), Highest("generate", 1, 2), Highest("notify", 0, 9)),
)


def accepted(deadline: float | None) -> Accepted | None:
    return None if deadline is None else Accepted("model_pose12", {}, (), created=NOW - 1_000, deadline=deadline)


ASKED = ("not asked", "asked", "agreed")

SNAPSHOTS = [
    Snapshot(
        run=RunId("u", "t", 0, run),
        accepted=accepted(deadline),
        verdict=verdict,
        delivered=delivered,
        reopening=asked != "not asked",
        reopened=asked == "agreed",
        reopen_denied=denied,
        cleaned=cleaned,
        calls=calls,
        begun=begun,
    )
    for run, deadline, verdict, delivered, asked, denied, cleaned, calls, begun in itertools.product(
        (0, 1), DEADLINES, VERDICTS, (False, True), ASKED, (False, True), (False, True), CALLS.values(), BEGUN
    )
]


def step_of(snapshot: Snapshot, *, vendor: bool | None) -> Step:
    """The only step of a run with one slot."""
    (step,) = next_step(snapshot, NOW, needs=None if vendor is None else Needs(vendor=vendor))
    return step


STATES: list[tuple[Snapshot, bool, Step]] = [
    (snapshot, vendor, step_of(snapshot, vendor=vendor)) for snapshot in SNAPSHOTS for vendor in (False, True)
]


def may_work(snapshot: Snapshot) -> bool:
    """Accepted, not out of time, and the backend agreed: the only states in which a run may be worked on."""
    task = snapshot.accepted
    ours = snapshot.run.run == 0 or snapshot.reopened
    return task is not None and snapshot.verdict is None and task.deadline > NOW and ours


def test_the_space_is_small_and_whole() -> None:
    assert len(STATES) == len(SNAPSHOTS) * 2 > 25_000
    assert {type(step) for *_, step in STATES} == {
        FinishRun,
        Nothing,
        AskInput,
        AskReopen,
        DenyReopen,
        Expire,
        Look,
        DeadCall,
        DenyReopen,
        Publish,
    }


def test_a_verdict_leads_to_its_end_and_to_nothing_else() -> None:
    for snapshot, *_, step in STATES:
        assert isinstance(step, FinishRun) == (snapshot.verdict is not None)


def test_only_a_run_that_nobody_accepted_asks_for_its_input() -> None:
    for snapshot, *_, step in STATES:
        unknown = snapshot.verdict is None and snapshot.accepted is None
        assert isinstance(step, AskInput) == (unknown and snapshot.run.run == 0)
        if unknown and snapshot.run.run > 0:
            assert isinstance(step, Nothing)


def test_nothing_is_worked_on_out_of_time_or_without_the_backends_yes() -> None:
    for snapshot, *_, step in STATES:
        if isinstance(step, Publish | Look | DeadCall):
            assert may_work(snapshot)


def test_the_deadline_fails_a_run_that_the_backend_waits_for_and_no_other() -> None:
    for snapshot, *_, step in STATES:
        task = snapshot.accepted
        late = task is not None and snapshot.verdict is None and task.deadline <= NOW
        denied = snapshot.reopen_denied and not snapshot.reopened
        asked = snapshot.run.run == 0 or (snapshot.reopening and not denied)
        assert isinstance(step, Expire) == (late and asked)
        # The backend does not know a replay that it was never asked to reopen: no callback.
        if isinstance(step, DenyReopen):
            assert late
            assert not snapshot.reopening
            assert snapshot.run.run > 0


def test_a_replay_asks_once_and_takes_no_for_an_answer() -> None:
    for snapshot, *_, step in STATES:
        task = snapshot.accepted
        if snapshot.run.run == 0 or snapshot.verdict or task is None:
            assert not isinstance(step, AskReopen | DenyReopen)
        elif snapshot.reopen_denied and not snapshot.reopened:
            assert isinstance(step, Nothing)
        elif not snapshot.reopened:
            late = Expire if snapshot.reopening else DenyReopen
            assert isinstance(step, AskReopen if task.deadline > NOW else late)


def test_a_kind_without_a_vendor_is_only_ever_cleaned() -> None:
    for snapshot, vendor, step in STATES:
        if not vendor and may_work(snapshot):
            assert step == Publish(Stage.CLEAN, snapshot.next_seq(Stage.CLEAN))


def test_what_is_published_is_one_above_what_was_begun_of_that_stage() -> None:
    for snapshot, *_, step in STATES:
        if isinstance(step, Publish):
            seqs = [one.seq for one in snapshot.begun if one.stage == step.stage]
            assert step.seq == max(seqs, default=-1) + 1


def test_with_a_vendor_the_ledger_says_where_the_run_is() -> None:
    for snapshot, vendor, step in STATES:
        if not vendor or not may_work(snapshot):
            continue
        calls = snapshot.calls
        if live_jobs(calls):
            assert step == Look(1, live_jobs(calls))
        elif calls == CALLS["open"]:
            assert isinstance(step, Nothing)
        elif calls == CALLS["old"]:
            assert step == DeadCall(1, 1, Code.VENDOR_UNKNOWN, unknown=True)
        elif calls == CALLS["failed"]:
            assert step == DeadCall(1, 1, Code.CONTENT_VIOLATION, unknown=False)
        else:
            assert isinstance(step, Publish)
            assert step.stage is (Stage.GENERATE if snapshot.cleaned else Stage.CLEAN)


def test_a_kind_that_this_build_does_not_know_is_ended_and_never_worked_on_or_sold_again() -> None:
    for snapshot in SNAPSHOTS:
        known, step = step_of(snapshot, vendor=True), step_of(snapshot, vendor=None)
        works = isinstance(known, Publish | Look | DeadCall | AskReopen)
        assert isinstance(step, AwaitBuild) or step == known
        if works:
            assert isinstance(step, AwaitBuild)


def test_a_paid_call_is_asked_for_only_where_none_can_be_at_work() -> None:
    for snapshot, vendor, step in STATES:
        if vendor and isinstance(step, Publish):
            assert not live_jobs(snapshot.calls)
            assert not any(call.at + call.open_s > NOW for call in open_calls(snapshot.calls))


def test_the_same_question_has_the_same_answer() -> None:
    for snapshot, vendor, step in STATES[::97]:
        assert step_of(snapshot, vendor=vendor) == step


@pytest.mark.parametrize(
    ("begun", "clean", "second_slot"),
    [
        ((), 0, 0),
        ((Highest("clean", 0, 0),), 1, 0),
        ((Highest("clean", 0, 7), Highest("generate", 1, 0)), 8, 0),
        ((Highest("generate", 1, 3), Highest("generate", 2, 5)), 0, 6),
    ],
)
def test_the_next_seq_follows_what_was_begun_in_the_same_chain(
    begun: tuple[Highest, ...], clean: int, second_slot: int
) -> None:
    snapshot = Snapshot(RunId("u", "t"), begun=begun)
    assert snapshot.next_seq(Stage.CLEAN) == clean
    assert snapshot.next_seq(Stage.GENERATE, slot=2) == second_slot
