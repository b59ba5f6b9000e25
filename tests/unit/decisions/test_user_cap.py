"""The cap of a user: the messages that it counts, and the delay of the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.runners.user_cap import THROTTLE_LONGEST_S, THROTTLE_SHORTEST_S, UserCap, UserLine, throttle_delay
from messages.bodies import Stage
from messages.codec import SCHEMA, Header
from tests.engine.virtual import virtually


def header(user: str, stage: str = Stage.GENERATE) -> Header:
    return Header(SCHEMA, stage, user, "t1", 0, 0, 0, 0, 1_795_000_000_000)


def test_a_user_is_full_at_the_cap_and_others_are_not() -> None:
    cap = UserCap(2)
    for _ in range(2):
        assert not cap.is_full("u1")
        cap.enter("u1")
    assert cap.is_full("u1")
    assert not cap.is_full("u2")
    cap.leave("u1", 1.0)
    assert not cap.is_full("u1")


@pytest.mark.parametrize("stage", [Stage.CLEAN, Stage.GENERATE, Stage.COLLECT])
def test_work_that_takes_its_time_counts_for_its_user(stage: str) -> None:
    assert UserCap(1).counted(header("u1", stage)) == "u1"


@pytest.mark.parametrize("stage", [Stage.POLL, Stage.WAKE, Stage.NOTIFY, Stage.DEAD, "unheard-of"])
def test_looks_and_verdicts_count_for_nobody(stage: str) -> None:
    assert not UserCap(1).counted(header("u1", stage))


def test_without_a_cap_nothing_counts() -> None:
    assert not UserCap(0).counted(header("u1"))


@given(st.integers(0, 10_000), st.floats(0, 1e4), st.integers(1, 100))
def test_who_has_more_ahead_waits_longer_within_bounds(ahead: int, took: float, most: int) -> None:
    delay = throttle_delay(ahead, took, most)
    assert THROTTLE_SHORTEST_S <= delay <= throttle_delay(ahead + 1, took, most) <= THROTTLE_LONGEST_S


@given(st.integers(0, 200), st.floats(0.5, 60), st.integers(1, 10))
def test_a_message_comes_again_before_its_place_is_free(ahead: int, took: float, most: int) -> None:
    assert throttle_delay(ahead, took, most) <= max(THROTTLE_SHORTEST_S, (ahead + 1) * took / most)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2)), max_size=60), st.floats(0.1, 60))
def test_the_oldest_of_a_line_comes_again_first(joins: list[tuple[int, float]], took: float) -> None:
    """(created, seconds since the one before) each."""
    line, now = UserLine(2), 0.0
    line.took(took)
    for created, later in joins:
        now += later
        line.join(created, "t", now)
    assert line.join(-1, "t", now) == throttle_delay(0, took, 2)
    assert line.join(99, "t", now) == max(line.join(98, "t", now) for _ in range(2))


def test_those_that_came_again_are_ahead_no_more() -> None:
    line = UserLine(1)
    line.took(10.0)
    assert [line.join(created, "t", 0.0) for created in range(3)] == [8.0, 16.0, 24.0]
    assert line.join(9, "t", 20.0) == 16.0


def test_a_place_goes_to_the_one_that_waits() -> None:
    async def body() -> None:
        cap = UserCap(1)
        cap.enter("u1")
        waiting = asyncio.create_task(cap.enter_soon("u1", 1.0, lambda: False))
        await asyncio.sleep(0.5)
        assert not await cap.enter_soon("u1", 1.0, lambda: False), "another one waits already"
        cap.leave("u1", 0.5)
        # None overtakes.
        assert cap.is_full("u1")
        assert await waiting
        cap.leave("u1", 0.5)
        assert not cap.is_full("u1")

    virtually(body)


def test_one_that_waits_for_a_place_waits_no_longer_than_it_may() -> None:
    async def body() -> None:
        cap = UserCap(1)
        cap.enter("u1")
        assert not await cap.enter_soon("u1", 1.0, lambda: False)
        assert asyncio.get_running_loop().time() == pytest.approx(1.0)
        cap.leave("u1", 1.0)
        assert not cap.is_full("u1")

    virtually(body)


@pytest.mark.parametrize("handed", [False, True])
def test_one_that_is_cancelled_keeps_no_place(handed: Any) -> None:
    async def body() -> None:
        cap = UserCap(1)
        cap.enter("u1")
        waiting = asyncio.create_task(cap.enter_soon("u1", 1.0, lambda: False))
        await asyncio.sleep(0.5)
        if handed:
            cap.leave("u1", 0.5)
        waiting.cancel()
        await asyncio.wait([waiting])
        if not handed:
            cap.leave("u1", 0.5)
        assert not cap.is_full("u1")

    virtually(body)


@pytest.mark.parametrize(("others", "spare", "yields"), [(0, True, True), (1, True, False), (0, False, False)])
def test_the_cap_yields_where_it_helps_no_other_user(others: int, spare: Any, yields: Any) -> None:
    async def body() -> None:
        cap = UserCap(1)
        cap.enter("u1")
        for _ in range(others):
            cap.enter("u2")
        assert await cap.enter_soon("u1", 1.0, lambda: spare) is yields

    virtually(body)


def test_the_cap_yields_while_a_message_waits() -> None:
    async def body() -> None:
        cap, loop = UserCap(1), asyncio.get_running_loop()
        cap.enter("u1")
        cap.enter("u2")
        loop.call_later(0.4, cap.leave, "u2", 0.4)
        assert await cap.enter_soon("u1", 1.0, lambda: True)
        assert loop.time() <= 0.5

    virtually(body)
