"""When to look at a job, or to call the backend, next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumers.stages.schedule import FIRST_LOOK, LONGEST, NOTIFY_FIRST, NOTIFY_LONGEST, next_poll, notify_delay
from recipes.table import RECIPES

ELAPSED = st.floats(0, 1e6)
EXPECTED = st.floats(0, 3600)


@given(ELAPSED, EXPECTED)
def test_a_look_is_neither_at_once_nor_far_away(elapsed: float, expected: float) -> None:
    delay = next_poll(elapsed, expected)
    assert delay >= 0.5
    # The first look waits for most of the expected time; from then on a minute is the most.
    assert delay <= (LONGEST if elapsed >= FIRST_LOOK * expected else max(LONGEST, FIRST_LOOK * expected))


@given(st.floats(-1e4, -0.001), EXPECTED)
def test_a_clock_that_runs_behind_does_no_harm(elapsed: float, expected: float) -> None:
    assert next_poll(elapsed, expected) > 0
    assert notify_delay(elapsed) > 0


@given(ELAPSED, ELAPSED, EXPECTED)
def test_the_later_the_job_the_fewer_the_looks(one: float, other: float, expected: float) -> None:
    early, late = sorted(max(value, FIRST_LOOK * expected) for value in (one, other))
    assert next_poll(early, expected) <= next_poll(late, expected)


@given(EXPECTED)
def test_the_first_look_comes_when_most_of_the_expected_time_has_passed(expected: float) -> None:
    first = next_poll(0.0, expected)
    assert FIRST_LOOK * expected <= first <= max(FIRST_LOOK * expected, 10.0)


def looks(expected: float, until: float) -> list[float]:
    at, times = 0.0, []
    while at < until:
        at += next_poll(at, expected)
        times.append(at)
    return times


def test_a_job_in_time_is_noticed_soon_and_a_late_one_costs_little() -> None:
    for recipe in RECIPES.values():
        times = looks(recipe.expected_s, recipe.deadline_s)
        in_time = next(at for at in times if at >= recipe.expected_s)
        assert in_time - recipe.expected_s <= recipe.expected_s / 5
        assert len(times) < 60


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_callbacks_come_ever_less_often(one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert NOTIFY_FIRST <= notify_delay(early) <= notify_delay(late) <= NOTIFY_LONGEST


def test_callbacks_start_at_seconds_and_end_at_ten_minutes() -> None:
    assert notify_delay(0.0) == 5.0
    assert notify_delay(60.0) == 30.0
    assert notify_delay(72 * 3600.0) == 600.0
