"""When a run with several slots is decided: every combination of ends of up to four slots."""

from __future__ import annotations

import itertools

import pytest

from consumers.engine.fan_in import GRACE_S, after_slot
from consumers.engine.outcomes import Fail, Leave, Next
from messages.bodies import Stage
from messages.codes import Code
from tasks.ledger.records import Accepted, SlotEnd
from tasks.slots import CollectAt, Hopeless, Undecided, decide_run

LAST_CALL = 500.0
GOOD = SlotEnd(good=True, n=1)
BAD = SlotEnd(good=False, code="vendor_failed")
CASES = [
    (slots, enough, dict(zip(range(1, slots + 1), ends, strict=True)))
    for slots in range(1, 5)
    for enough in range(1, slots + 1)
    for ends in itertools.product((None, GOOD, BAD), repeat=slots)
]


def accepted(slots: int, enough: int) -> Accepted:
    last_call = LAST_CALL if enough < slots else 0.0
    return Accepted("k", {}, (), created=0.0, deadline=900.0, slots=slots, enough=enough, last_call=last_call)


@pytest.mark.parametrize(("slots", "enough", "ends"), CASES)
def test_a_run_is_decided_as_soon_as_no_slot_can_change_its_verdict(
    slots: int, enough: int, ends: dict[int, SlotEnd | None]
) -> None:
    found = {slot: end for slot, end in ends.items() if end}
    good = sum(end.good for end in found.values())
    left = slots - len(found)
    decision = decide_run(accepted(slots, enough), found)
    if good + left < enough:
        assert decision == Hopeless(Code.VENDOR_FAILED)
    elif not left:
        assert decision == CollectAt(0.0)
    elif good >= enough:
        assert decision == CollectAt(LAST_CALL, 600.0)
    else:
        assert decision == Undecided()


@pytest.mark.parametrize(("slots", "enough", "ends"), CASES)
def test_another_end_never_undoes_a_decision(slots: int, enough: int, ends: dict[int, SlotEnd | None]) -> None:
    sold = accepted(slots, enough)
    found = {slot: end for slot, end in ends.items() if end}
    before = decide_run(sold, found)
    for slot in ends.keys() - found.keys():
        for end in (GOOD, BAD):
            after = decide_run(sold, {**found, slot: end})
            assert not isinstance(before, Hopeless) or isinstance(after, Hopeless)
            assert not isinstance(before, CollectAt) or isinstance(after, CollectAt)


def test_the_first_bad_slot_gives_the_code() -> None:
    ends = {3: SlotEnd(good=False, code="content_violation"), 2: SlotEnd(good=False, code="timeout")}
    assert decide_run(accepted(3, 2), ends) == Hopeless(Code.TIMEOUT)


def test_what_follows_a_decision() -> None:
    assert after_slot(Undecided(), 100.0) == Leave()
    assert after_slot(Hopeless(Code.TIMEOUT), 100.0) == Fail(Code.TIMEOUT)
    for at, delay in ((0.0, 0.0), (LAST_CALL, 400.0), (50.0, 0.0)):
        following = after_slot(CollectAt(at), 100.0, seq=3)
        assert isinstance(following, Next)
        assert (following.stage, following.delay, following.seq) == (Stage.COLLECT, delay, 3)


def test_slots_that_end_after_the_last_call_are_given_a_moment_and_never_the_time_to_collect() -> None:
    for now, delay in ((LAST_CALL + 10, GRACE_S), (580.0, 20.0), (600.0, 0.0), (700.0, 0.0)):
        following = after_slot(CollectAt(LAST_CALL, 600.0), now)
        assert isinstance(following, Next)
        assert following.delay == delay
