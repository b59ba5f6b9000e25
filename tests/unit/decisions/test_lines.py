"""Lines for a full vendor: the oldest goes first, and comes again the soonest."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from messages.keys import RunId
from services.vendors.port import VendorKey
from tasks.calls.lines import SHORTEST_S, Line, VendorLines, room_delay

LONGEST = 30.0
KEY, OTHER = VendorKey("runninghub", "one"), VendorKey("runninghub", "two")
AGES, AHEAD = st.floats(-10, 1e5), st.integers(0, 1000)


def run(number: int) -> RunId:
    return RunId("u1", f"t{number}")


@given(AGES, st.floats(0, 1e5), AHEAD)
def test_the_delay_shrinks_with_age_and_grows_with_those_ahead_within_bounds(age: Any, more: Any, ahead: Any) -> None:
    delay = room_delay(age, ahead, LONGEST)
    assert SHORTEST_S <= room_delay(age + more, ahead, LONGEST) <= delay <= LONGEST
    assert delay <= room_delay(age, ahead + 1, LONGEST)


@given(AGES, AHEAD, st.floats(0.01, SHORTEST_S))
def test_a_pause_that_is_set_shorter_bounds_every_delay(age: Any, ahead: Any, longest: Any) -> None:
    assert room_delay(age, ahead, longest) == longest


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=30))
def test_the_oldest_run_may_always_ask_and_while_the_vendor_is_full_no_other(sinces: Any) -> None:
    line = Line()
    line.was_full()
    for number, since in enumerate(sinces):
        line.wait(run(number), 1, since, 0.0, 30.0)
    ahead = [line.ahead(run(number), 1, since, 1.0) for number, since in enumerate(sinces)]
    assert sorted(ahead) == list(range(len(sinces)))
    oldest = min(range(len(sinces)), key=lambda number: (sinces[number], run(number)))
    assert [number for number in range(len(sinces)) if line.may_ask(ahead[number])] == [oldest]
    # One that comes for the first time is behind them all.
    assert line.ahead(run(99), 1, 2000.0, 1.0) == len(sinces)


def test_after_each_room_that_was_found_twice_as_many_may_ask_until_the_vendor_is_full() -> None:
    line = Line()
    for number in range(10):
        line.wait(run(number), 1, float(number), 0.0, 30.0)
    for most in (2, 4, 8):
        line.had_room(run(most), 1)
        assert line.may_ask(most - 1)
        assert not line.may_ask(most)
    line.was_full()
    assert not line.may_ask(1)


def test_a_run_that_does_not_come_again_holds_up_nobody() -> None:
    line = Line()
    line.wait(run(1), 1, 0.0, 100.0, 30.0)
    assert line.ahead(run(2), 1, 50.0, 130.0) == 1
    assert line.ahead(run(2), 1, 50.0, 142.0) == 0


def test_slots_of_a_run_wait_by_themselves_and_a_key_does_not_hold_up_another() -> None:
    lines = VendorLines()
    lines.was_full(KEY)
    lines.wait(KEY, run(1), 1, 0.0, 0.0, 30.0)
    assert lines.ahead(KEY, run(1), 2, 0.0, 1.0) == 1
    assert lines.ahead(OTHER, run(2), 1, 50.0, 1.0) == 0
    lines.had_room(KEY, run(1), 1)
    assert lines.ahead(KEY, run(1), 2, 0.0, 1.0) == 0
