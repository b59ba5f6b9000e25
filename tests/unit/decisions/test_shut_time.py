"""Time for which isolation keeps others out; a message that waits for isolation gets it in the end."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.runners.exclusive_gate import FIRST_SHUT_S, REST_FACTOR, ExclusiveGate, ShutTime
from tests.engine.virtual import virtually

SHUTS = st.lists(st.tuples(st.booleans(), st.floats(0.01, 200), st.floats(0, 100)), max_size=30)


@given(SHUTS)
def test_the_gate_stays_open_for_longer_than_it_was_shut(shuts: Any) -> None:
    """(in vain, seconds shut, seconds until it is shut again though it may be) each."""
    times, now = ShutTime(), 0.0
    for in_vain, seconds, more in shuts:
        now = max(now, times.open_until) + more
        since = now
        if in_vain:
            now += times.limit_s
            times.was_in_vain(since, now)
            assert times.open_until - now >= 0.99 * REST_FACTOR * (now - since)
        else:
            now += seconds
            times.was_used(since, now)
            assert times.open_until - now >= 0.99 * (now - since)
        assert times.limit_s >= FIRST_SHUT_S


def test_a_gate_that_was_used_is_shut_for_less_again() -> None:
    times = ShutTime()
    for since in (0.0, 100.0, 200.0):
        times.was_in_vain(since, since + times.limit_s)
    assert times.limit_s == 8 * FIRST_SHUT_S
    for since in (300.0, 400.0, 500.0, 600.0):
        times.was_used(since, since + 1)
    assert times.limit_s == FIRST_SHUT_S


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.5, 150), min_size=1, max_size=6), st.integers(1, 5))
def test_one_among_endless_work_is_isolated_before_long_and_holds_up_the_others_for_a_share_of_the_time(
    lengths: list[float], permits: int
) -> None:
    longest = max(lengths)

    async def body() -> None:
        loop, gate = asyncio.get_running_loop(), ExclusiveGate()
        each, inside, kept_out = itertools.cycle(lengths), 0, 0.0

        async def work() -> None:
            nonlocal inside, kept_out
            while True:
                asked = loop.time()
                await gate.enter()
                kept_out += loop.time() - asked
                inside += 1
                await asyncio.sleep(next(each))
                inside -= 1
                gate.leave()

        workers = [asyncio.create_task(work()) for _ in range(permits)]
        await asyncio.sleep(1)
        while rest := await gate.enter_isolated():  # noqa: ASYNC110 - it is told how long to wait
            await asyncio.sleep(rest)
        assert inside == 0
        # The last wait is not in vain: it is as long as the longest work at most.
        in_vain = max(0.0, kept_out - permits * longest)
        assert in_vain <= permits * loop.time() / (1 + REST_FACTOR) + 0.01
        assert loop.time() <= 1 + (1 + REST_FACTOR) * 2 * longest + longest + FIRST_SHUT_S
        for worker in workers:
            worker.cancel()

    virtually(body)


async def test_an_empty_gate_is_passed_at_once_also_while_it_is_to_stay_open() -> None:
    gate = ExclusiveGate()
    for _ in range(5):
        assert await gate.enter_isolated() == 0.0
        await asyncio.sleep(0)
        gate.leave_isolated()


def test_after_one_was_isolated_those_that_waited_pass_before_the_next() -> None:
    async def body() -> None:
        gate, order = ExclusiveGate(), list[str]()

        async def isolated(name: str) -> None:
            while rest := await gate.enter_isolated():  # noqa: ASYNC110 - it is told how long to wait
                await asyncio.sleep(rest)
            order.append(name)
            await asyncio.sleep(2)
            gate.leave_isolated()

        async def beside() -> None:
            await gate.enter()
            order.append("beside")
            await asyncio.sleep(1)
            gate.leave()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(isolated("first"))
            await asyncio.sleep(0)
            tasks.create_task(isolated("second"))
            tasks.create_task(beside())
        assert order == ["first", "beside", "second"]

    virtually(body)
