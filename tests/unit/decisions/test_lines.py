"""Lines for a full vendor: the oldest goes first, and comes again the soonest."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from messages.codec import Priority
from messages.keys import RunId
from services.vendors.port import VendorKey
from services.vendors.registry import choose_key
from tasks.calls.lines import SHORTEST_S, Line, VendorLines, Waiter, room_delay

LONGEST = 30.0
VENDOR = "runninghub"
KEY, OTHER = BOTH = VendorKey(VENDOR, "one"), VendorKey(VENDOR, "two")
AGES, AHEAD = st.floats(0, 1e5), st.integers(0, 1000)


def waiter(number: int, since: float, priority: Priority = Priority.NORMAL) -> Waiter:
    return Waiter(RunId("u1", f"t{number}"), 1, since, priority)


@given(AGES, st.floats(0, 1e5), AHEAD)
def test_the_delay_shrinks_with_age_and_grows_with_those_ahead_within_bounds(age: Any, more: Any, ahead: Any) -> None:
    delay = room_delay(age, ahead, LONGEST)
    assert SHORTEST_S <= room_delay(age + more, ahead, LONGEST) <= delay <= LONGEST
    assert delay <= room_delay(age, ahead + 1, LONGEST)


@given(AGES, AHEAD, st.floats(0.01, SHORTEST_S))
def test_a_pause_that_is_set_shorter_bounds_every_delay(age: Any, ahead: Any, longest: Any) -> None:
    assert room_delay(age, ahead, longest) == longest


@given(st.lists(st.tuples(st.floats(0, 1000), st.sampled_from(Priority)), min_size=1, max_size=30))
def test_the_oldest_run_may_always_ask_and_while_the_vendor_is_full_no_other(runs: Any) -> None:
    line, now = Line(), 1001.0
    line.was_full()
    waiters = [waiter(number, since, priority) for number, (since, priority) in enumerate(runs)]
    for each in waiters:
        line.wait(each, now, 30.0)
    ahead = [line.ahead(each, now) for each in waiters]
    assert sorted(ahead) == list(range(len(runs)))
    oldest = max(each.age(now) for each in waiters)
    (asks,) = [each for each, before in zip(waiters, ahead, strict=True) if line.may_ask(before)]
    assert asks.age(now) == oldest
    # A new run is behind all waiting ones.
    assert line.ahead(waiter(99, 2000.0), now) == len(runs)


@given(st.sampled_from(Priority), st.floats(0, 1000), st.floats(0.01, 1000))
def test_among_equals_the_older_is_first_for_ever(priority: Any, since: Any, later: Any) -> None:
    line = Line()
    line.wait(waiter(2, since, priority), since, 1e9)
    for now in (since + later, since + 10 * later):
        assert line.ahead(waiter(1, since + later, priority), now) == 1


def test_an_urgent_run_overtakes_in_time_and_none_starves() -> None:
    line = Line()
    line.wait(waiter(1, 0.0, Priority.LOW), 0.0, 1e9)
    urgent = waiter(2, 100.0, Priority.HIGH)
    assert line.ahead(urgent, 101.0) == 1
    assert line.ahead(urgent, 125.0) == 0
    # A run that has waited six times as long is not overtaken any more.
    assert line.ahead(waiter(3, 900.0, Priority.HIGH), 1000.0) == 1


def test_after_each_room_that_was_found_twice_as_many_may_ask_until_the_vendor_is_full() -> None:
    line = Line()
    waiters = [waiter(number, float(number)) for number in range(10)]
    for each in waiters:
        line.wait(each, 0.0, 30.0)
    for most in (2, 4, 8):
        line.had_room(waiters[most])
        assert line.may_ask(most - 1)
        assert not line.may_ask(most)
    line.was_full()
    assert not line.may_ask(1)


def test_a_run_that_does_not_come_again_holds_up_nobody() -> None:
    line = Line()
    line.wait(waiter(1, 0.0), 100.0, 30.0)
    assert line.ahead(waiter(2, 50.0), 130.0) == 1
    assert line.ahead(waiter(2, 50.0), 142.0) == 0


def test_slots_of_a_run_wait_by_themselves_and_a_vendor_does_not_hold_up_another() -> None:
    lines = VendorLines()
    first, second = (Waiter(RunId("u1", "t1"), slot, 0.0) for slot in (1, 2))
    lines.was_full(VENDOR)
    lines.wait(VENDOR, first, 0.0, 30.0)
    assert lines.ahead(VENDOR, second, 1.0) == 1
    assert lines.waiting(VENDOR, 1.0) == 1
    assert lines.ahead("other", waiter(2, 50.0), 1.0) == 0
    lines.had_room(VENDOR, first)
    assert lines.ahead(VENDOR, second, 1.0) == 0
    assert lines.waiting(VENDOR, 1.0) == lines.waiting("other", 1.0) == 0


KEYS = st.sets(st.builds(VendorKey, st.just(VENDOR), st.sampled_from("abcdef")))


@given(keys=KEYS, taken=KEYS, turn=st.integers(0, 100))
def test_the_chosen_key_is_one_that_can_take_a_call_if_there_is_any(
    keys: set[VendorKey], taken: set[VendorKey], turn: int
) -> None:
    chosen = choose_key(keys, turn, taken)
    assert chosen in keys - taken if keys - taken else chosen is None


@given(keys=KEYS.filter(bool), turn=st.integers(0, 100))
def test_keys_that_can_all_take_a_call_are_used_evenly(keys: set[VendorKey], turn: int) -> None:
    chosen = Counter(choose_key(keys, turn + n, ()) for n in range(3 * len(keys)))
    assert chosen == dict.fromkeys(keys, 3)


def test_a_key_has_its_share_of_calls_at_once_and_rests_while_it_is_full() -> None:
    lines = VendorLines()
    assert [lines.take(BOTH, 0.0, 2) for _ in range(5)] == [KEY, OTHER, KEY, OTHER, None]
    assert lines.held(KEY) == lines.held(OTHER) == 2
    lines.give_back(OTHER)
    lines.rest(OTHER, 0.0, 30.0)
    assert lines.take(BOTH, 29.0, 2) is None
    assert lines.take(BOTH, 30.0, 2) == OTHER
    assert lines.take((), 30.0, 2) is None


def test_a_longer_rest_of_a_key_stays() -> None:
    lines = VendorLines()
    lines.rest(KEY, 0.0, 60.0)
    lines.rest(KEY, 1.0, 5.0)
    assert lines.is_resting(KEY, 59.0)
    assert not lines.is_resting(KEY, 60.0)
