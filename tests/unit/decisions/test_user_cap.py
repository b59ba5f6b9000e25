"""The cap a user: whom it counts, and how long the others wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.engine.retry import THROTTLE_LONGEST, THROTTLE_SHORTEST, throttle_delay
from consumers.runners.user_cap import UserCap
from messages.bodies import Stage
from messages.codec import SCHEMA, Header


def header(user: str, stage: str = Stage.GENERATE) -> Header:
    return Header(SCHEMA, stage, user, "t1", 0, 0, 0, 0, 1_795_000_000_000)


def test_a_user_is_full_at_the_cap_and_others_are_not() -> None:
    cap = UserCap(2)
    for _ in range(2):
        assert not cap.is_full("u1")
        cap.enter("u1")
    assert cap.is_full("u1")
    assert not cap.is_full("u2")
    cap.leave("u1")
    assert not cap.is_full("u1")


@pytest.mark.parametrize("stage", [Stage.CLEAN, Stage.GENERATE, Stage.COLLECT])
def test_work_that_takes_its_time_counts_for_its_user(stage: str) -> None:
    assert UserCap(1).counted(header("u1", stage)) == "u1"


@pytest.mark.parametrize("stage", [Stage.POLL, Stage.WAKE, Stage.NOTIFY, Stage.DEAD, "unheard-of"])
def test_looks_and_verdicts_count_for_nobody(stage: str) -> None:
    assert not UserCap(1).counted(header("u1", stage))


def test_without_a_cap_nothing_counts() -> None:
    assert not UserCap(0).counted(header("u1"))


@given(st.floats(-10, 1e6), st.floats(0, 1e6))
def test_who_has_waited_longer_waits_longer_within_bounds(age: float, more: float) -> None:
    assert THROTTLE_SHORTEST <= throttle_delay(age) <= throttle_delay(age + more) <= THROTTLE_LONGEST
