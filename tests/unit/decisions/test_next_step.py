"""What a wake does: the whole of a small state space, and the few sentences that must hold in it."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest

from messages.bodies import Stage
from messages.codes import Code
from messages.keys import RunId
from tasks.ledger import records
from tasks.ledger.records import Accepted, Verdict
from tasks.ledger.snapshot import PaidCall, Snapshot, live_jobs, open_calls
from tasks.next_step import (
    AskInput,
    AskReopen,
    AwaitBuild,
    DeadCall,
    End,
    Expire,
    Look,
    Nothing,
    Publish,
    RefuseRun,
    Resend,
    Step,
    next_step,
    seq_after,
)

NOW = 1_000.0
OPEN_S = 120.0

DEADLINES = (None, NOW + 600, NOW + 0.001, NOW, NOW - 600)
"""None: nobody accepted the run."""

VERDICTS = (None, Verdict("success"), Verdict("failed", "timeout"), Verdict("cancelled", "cancelled"))

_LIVE = PaidCall(1, NOW - 10, OPEN_S, job="job-1")
_OPEN = PaidCall(1, NOW - 10, OPEN_S)
_OLD = PaidCall(1, NOW - 500, OPEN_S)
_REFUSED = PaidCall(1, NOW - 500, OPEN_S, end=records.End("refused", Code.BUSY))
_FAILED = PaidCall(1, NOW - 500, OPEN_S, job="job-1", end=records.End("failed", Code.CONTENT_VIOLATION))
_GIVEN_UP = PaidCall(1, NOW - 500, OPEN_S, given_up=True)
_SECOND = PaidCall(2, NOW - 10, OPEN_S, job="job-2")

CALLS: dict[str, tuple[PaidCall, ...]] = {
    "none": (),
    "live": (_LIVE,),
    "open": (_OPEN,),
    "old": (_OLD,),
    "refused": (_REFUSED,),
    "failed": (_FAILED,),
    "given up": (_GIVEN_UP,),
    "two live": (_LIVE, _SECOND),
    "failed, another live": (_FAILED, _SECOND),
    "given up, another live": (_GIVEN_UP, _SECOND),
}

BEGUN: tuple[tuple[tuple[str, int], ...], ...] = (
    (),
    (("clean", 0),),
    (("clean", 4), ("generate", 2), ("notify", 9)),
)

POLICIES: tuple[Literal["fail", "resend"], ...] = ("fail", "resend")


def accepted(deadline: float | None) -> Accepted | None:
    return None if deadline is None else Accepted("model_pose12", {}, (), created=NOW - 1_000, deadline=deadline)


SNAPSHOTS = [
    Snapshot(
        run=RunId("u", "t", 0, run),
        accepted=accepted(deadline),
        verdict=verdict,
        delivered=delivered,
        reopened=reopened,
        refused=refused,
        cleaned=cleaned,
        calls=calls,
        begun=begun,
    )
    for run, deadline, verdict, delivered, reopened, refused, cleaned, calls, begun in itertools.product(
        (0, 1), DEADLINES, VERDICTS, (False, True), (False, True), (False, True), (False, True), CALLS.values(), BEGUN
    )
]

STATES: list[tuple[Snapshot, bool, Literal["fail", "resend"], Step]] = [
    (snapshot, vendor, policy, next_step(snapshot, NOW, vendor=vendor, policy=policy))
    for snapshot in SNAPSHOTS
    for vendor in (False, True)
    for policy in POLICIES
]


def may_work(snapshot: Snapshot) -> bool:
    """Accepted, not out of time, and the backend agreed: the only states in which a run may be worked on."""
    task = snapshot.accepted
    ours = snapshot.run.run == 0 or (snapshot.reopened and not snapshot.refused)
    return task is not None and snapshot.verdict is None and task.deadline > NOW and ours


def test_the_space_is_small_and_whole() -> None:
    assert len(STATES) == len(SNAPSHOTS) * 4 > 70_000
    assert {type(step) for *_, step in STATES} == {
        End,
        Nothing,
        AskInput,
        AskReopen,
        RefuseRun,
        Expire,
        Look,
        DeadCall,
        Resend,
        Publish,
    }


def test_a_verdict_leads_to_its_end_and_to_nothing_else() -> None:
    for snapshot, *_, step in STATES:
        assert isinstance(step, End) == (snapshot.verdict is not None)


def test_only_a_run_that_nobody_accepted_asks_for_its_input() -> None:
    for snapshot, *_, step in STATES:
        assert isinstance(step, AskInput) == (snapshot.verdict is None and snapshot.accepted is None)


def test_nothing_is_worked_on_out_of_time_or_without_the_backends_yes() -> None:
    for snapshot, *_, step in STATES:
        if isinstance(step, Publish | Look | Resend | DeadCall):
            assert may_work(snapshot)


def test_the_deadline_fails_a_run_that_the_backend_waits_for_and_no_other() -> None:
    for snapshot, *_, step in STATES:
        task = snapshot.accepted
        late = task is not None and snapshot.verdict is None and task.deadline <= NOW
        agreed = snapshot.run.run == 0 or (snapshot.reopened and not snapshot.refused)
        assert isinstance(step, Expire) == (late and agreed)
        # A replay the backend has not agreed to is none of its tasks: no callback.
        if isinstance(step, RefuseRun):
            assert late
            assert not snapshot.reopened
            assert snapshot.run.run > 0


def test_a_replay_asks_once_and_takes_no_for_an_answer() -> None:
    for snapshot, *_, step in STATES:
        task = snapshot.accepted
        if snapshot.run.run == 0 or snapshot.verdict or task is None:
            assert not isinstance(step, AskReopen | RefuseRun)
        elif snapshot.refused:
            assert isinstance(step, Nothing)
        elif not snapshot.reopened:
            assert isinstance(step, AskReopen if task.deadline > NOW else RefuseRun)


def test_a_kind_without_a_vendor_is_only_ever_cleaned() -> None:
    for snapshot, vendor, _, step in STATES:
        if not vendor and may_work(snapshot):
            assert step == Publish(Stage.CLEAN, seq_after(snapshot, Stage.CLEAN))


def test_what_is_published_is_one_above_what_was_begun_of_that_stage() -> None:
    for snapshot, *_, step in STATES:
        if isinstance(step, Publish):
            assert step.seq == dict(snapshot.begun).get(step.stage.value, -1) + 1
        if isinstance(step, Resend):
            assert step.seq == dict(snapshot.begun).get("generate", -1) + 1


def test_with_a_vendor_the_ledger_says_where_the_run_is() -> None:
    for snapshot, vendor, policy, step in STATES:
        if not vendor or not may_work(snapshot):
            continue
        calls = snapshot.calls
        if live_jobs(calls):
            assert step == Look(live_jobs(calls))
        elif calls == CALLS["open"]:
            assert isinstance(step, Nothing)
        elif calls == CALLS["old"]:
            generate = seq_after(snapshot, Stage.GENERATE)
            lost = DeadCall(1, Code.VENDOR_UNKNOWN, unknown=True)
            assert step == (lost if policy == "fail" else Resend(1, generate))
        elif calls == CALLS["failed"]:
            assert step == DeadCall(1, Code.CONTENT_VIOLATION, unknown=False)
        elif calls == CALLS["given up"] and policy == "fail":
            assert step == DeadCall(1, Code.VENDOR_UNKNOWN, unknown=True)
        else:
            stage = Stage.GENERATE if snapshot.cleaned else Stage.CLEAN
            assert step == Publish(stage, seq_after(snapshot, stage))


def test_a_kind_that_this_build_does_not_know_is_ended_and_never_worked_on_or_sold_again() -> None:
    for snapshot in SNAPSHOTS:
        known, step = next_step(snapshot, NOW, vendor=True), next_step(snapshot, NOW, vendor=None)
        works = isinstance(known, Publish | Look | Resend | DeadCall | AskReopen)
        assert isinstance(step, AwaitBuild) or step == known
        if works:
            assert isinstance(step, AwaitBuild)


def test_a_paid_call_is_asked_for_only_where_none_can_be_at_work() -> None:
    for snapshot, vendor, _, step in STATES:
        if vendor and isinstance(step, Publish | Resend):
            assert not live_jobs(snapshot.calls)
            assert not any(call.at + call.open_s > NOW for call in open_calls(snapshot.calls))


def test_the_same_question_has_the_same_answer() -> None:
    for snapshot, vendor, policy, step in STATES[::97]:
        assert next_step(snapshot, NOW, vendor=vendor, policy=policy) == step


@pytest.mark.parametrize(
    ("begun", "expected"),
    [((), 0), ((("clean", 0),), 1), ((("clean", 7), ("generate", 0)), 8), ((("generate", 3),), 0)],
)
def test_seq_after_what_was_begun(begun: tuple[tuple[str, int], ...], expected: int) -> None:
    assert seq_after(Snapshot(RunId("u", "t"), begun=begun), Stage.CLEAN) == expected
