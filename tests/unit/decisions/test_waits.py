"""When a wait is recorded: at the first snooze for a reason, then at each doubling."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tasks.ledger.records import Waits
from tasks.waits import RESUMED_S, next_wait


def recorded(delays: list[float], whys: list[str]) -> list[Waits]:
    """Records of a message that is put off again and again, each time as soon as it is due."""
    now, stored = 1_000.0, list[Waits]()
    for delay, why in zip(delays, whys, strict=False):
        wait = next_wait(stored[-1] if stored else None, why, now, now + delay)
        stored += [wait] if wait else []
        now += delay
    return stored


def test_the_first_wait_is_recorded_and_then_each_doubling() -> None:
    waits = recorded([15.0] * 40, ["vendor_full"] * 40)
    assert [wait.until - wait.since for wait in waits] == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0]
    assert {wait.since for wait in waits} == {1_000.0}


def test_another_reason_begins_anew() -> None:
    waits = recorded([15.0] * 4, ["vendor_full", "vendor_full", "BackendDown", "vendor_full"])
    assert [wait.why for wait in waits] == ["vendor_full", "vendor_full", "BackendDown", "vendor_full"]
    assert waits[-1].since == 1_045.0


def test_a_wait_that_had_ended_begins_anew() -> None:
    last, ended = Waits("vendor_full", 1_015.0, 1_000.0), 1_030.0
    assert next_wait(last, "vendor_full", ended + RESUMED_S, 1_100.0) == Waits("vendor_full", 1_100.0, 1_000.0)
    later = ended + RESUMED_S + 1
    assert next_wait(last, "vendor_full", later, 1_200.0) == Waits("vendor_full", 1_200.0, later)


@given(st.lists(st.floats(1, 60), min_size=1, max_size=300))
def test_a_wait_of_any_length_leaves_few_records(delays: list[float]) -> None:
    waits = recorded(delays, ["vendor_full"] * len(delays))
    lengths = [wait.until - wait.since for wait in waits]
    assert all(later >= 2 * earlier for earlier, later in itertools.pairwise(lengths))
    assert len(waits) <= 16
    # The recorded time is never less than half of the real wait.
    assert 2 * lengths[-1] > sum(delays) - 1e-6
