"""Decisions about paid calls: every short history, one by one."""

from __future__ import annotations

import itertools

import msgspec

from messages.codes import Code
from tasks.calls.decide import Ended, Lost, MakeCall, PaidStep, Wait, Watch, decide, may_fail
from tasks.ledger.records import CallEnd
from tasks.ledger.snapshot import PaidCall, live_jobs, open_calls

NOW = 1_000.0
OPEN_S = 120.0

ENDS = (None, CallEnd("not_accepted", Code.BUSY), CallEnd("failed", Code.VENDOR_FAILED))
ONE_CALL = [
    PaidCall(n=0, at=NOW - age, open_s=OPEN_S, job=job, end=end)
    for age, job, end in itertools.product((0.0, OPEN_S - 0.001, OPEN_S, 1e6), ("", "job"), ENDS)
]
"""Every combination of records, also those that no rule would write: the ledger may hold any."""


def histories(longest: int) -> list[tuple[PaidCall, ...]]:
    kinds = ONE_CALL if longest < 3 else [call for call in ONE_CALL if call.at in {NOW, NOW - 1e6}]
    return [
        tuple(msgspec.structs.replace(call, n=n, job=call.job and f"job-{n}") for n, call in enumerate(chosen, 1))
        for length in range(longest + 1)
        for chosen in itertools.product(kinds, repeat=length)
    ]


HISTORIES = histories(2) + [calls for calls in histories(3) if len(calls) == 3]


def failed(call: PaidCall) -> bool:
    return call.end is not None and call.end.how == "failed"


def not_accepted(call: PaidCall) -> bool:
    return call.end is not None and call.end.how == "not_accepted"


def is_old(call: PaidCall) -> bool:
    return call.at + call.open_s <= NOW


def test_there_are_enough_histories() -> None:
    assert len(HISTORIES) > 1_900


def test_a_call_is_made_only_when_no_lower_one_can_have_been_accepted() -> None:
    made = 0
    for calls in HISTORIES:
        step = decide(calls, NOW)
        if not isinstance(step, MakeCall):
            continue
        made += 1
        assert step.n == len(calls) + 1
        assert not live_jobs(calls)
        assert not open_calls(calls)
        assert not any(failed(call) for call in calls)
        # A call that was not refused may be a job that is paid for.
        assert all(not_accepted(call) for call in calls)
    assert made > 5


def test_every_history_has_the_step_that_the_rules_name() -> None:
    for calls in HISTORIES:
        step = decide(calls, NOW)
        live, open_ = live_jobs(calls), open_calls(calls)
        expected: type[PaidStep]
        if live:
            expected = Watch
        elif open_:
            expected = Lost if is_old(open_[0]) else Wait
        else:
            bad = [call for call in calls if failed(call)]
            expected = Ended if bad else MakeCall
        assert type(step) is expected


def test_what_a_step_speaks_of() -> None:
    for calls in HISTORIES:
        step = decide(calls, NOW)
        match step:
            case Watch(watched):
                assert watched == live_jobs(calls)
                assert watched
            case Wait(delay):
                assert 0 < delay <= OPEN_S
            case Lost(n):
                call = calls[n - 1]
                assert not call.job or call.end is not None
                assert is_old(call)
            case Ended(n, code):
                assert failed(calls[n - 1])
                assert calls[n - 1].end == CallEnd("failed", code)
            case MakeCall():
                pass


def test_money_is_bounded_whatever_the_vendor_says() -> None:
    """Play every short history of a run that is looked at again and again: at most one paid job."""

    def play(calls: tuple[PaidCall, ...], depth: int) -> None:
        accepted = sum(bool(call.job) or call.open for call in calls)
        assert accepted <= 1
        if not depth:
            return
        match decide(calls, NOW):
            case MakeCall(n):
                fresh = PaidCall(n=n, at=NOW - 1e6, open_s=OPEN_S)
                answers = (fresh, msgspec.structs.replace(fresh, job="j"), msgspec.structs.replace(fresh, end=ENDS[1]))
                for answer in answers:
                    play((*calls, answer), depth - 1)
            case Watch(live):
                ended = msgspec.structs.replace(live[0], end=ENDS[2])
                play((*calls[: ended.n - 1], ended, *calls[ended.n :]), depth - 1)
            case Wait() | Lost() | Ended():
                return

    play((), 9)


def test_a_slot_fails_only_where_the_next_step_neither_waits_nor_looks() -> None:
    for calls in HISTORIES:
        step = decide(calls, NOW)
        assert may_fail(calls, NOW, of_call=False) is not isinstance(step, Wait | Watch)
        assert may_fail(calls, NOW, of_call=True) is isinstance(step, Lost | Ended)


def test_a_slot_without_paid_calls_fails_by_a_message_of_its_own_and_by_no_call() -> None:
    assert may_fail((), NOW, of_call=False)
    assert not may_fail((), NOW, of_call=True)
