"""A time limit whose timer is set only for work that waits; otherwise it behaves as `asyncio.timeout`."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from consumers.engine.time_limit import within
from tests.engine.virtual import VirtualLoop, virtually

_where = contextvars.ContextVar("where", default="outside")


async def _sleeps(*seconds: float, result: str = "done") -> str:
    for one in seconds:
        await asyncio.sleep(one)
    return result


async def _raises(error: Exception, after: float | None = None) -> None:
    if after is not None:
        await asyncio.sleep(after)
    raise error


def test_work_that_does_not_wait_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[float] = []
    monkeypatch.setattr(VirtualLoop, "call_at", lambda _loop, when, *_, **__: timers.append(when))

    async def body() -> None:
        assert await within(5, _sleeps()) == "done"
        with pytest.raises(ValueError, match="broke"):
            await within(5, _raises(ValueError("broke")))
        assert not timers

    virtually(body)


def test_work_that_waits_comes_to_its_end() -> None:
    async def body() -> None:
        assert await within(5, _sleeps(1, 1, 2.9)) == "done"
        with pytest.raises(ValueError, match="broke"):
            await within(5, _raises(ValueError("broke"), 1))

    virtually(body)


def test_work_that_waits_too_long_is_cancelled_and_told() -> None:
    async def body() -> None:
        loop, ended = asyncio.get_running_loop(), False

        async def work() -> None:
            nonlocal ended
            try:
                await asyncio.sleep(3)
                await asyncio.sleep(3)
            finally:
                ended = True

        began = loop.time()
        with pytest.raises(TimeoutError):
            await within(5, work())
        assert ended
        assert loop.time() - began == pytest.approx(5)
        await asyncio.sleep(60)  # nothing is left that would be cancelled later

    virtually(body)


def test_work_may_answer_its_cancellation_in_its_own_time() -> None:
    async def body() -> None:
        cleaned: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cleaned.append(await _sleeps(1, result="cleaned"))
                raise

        with pytest.raises(TimeoutError):
            await within(5, work())
        assert cleaned == ["cleaned"]

    virtually(body)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_cancellation_from_outside_reaches_the_work_and_is_no_time_out(steps: int) -> None:
    async def body() -> None:
        seen: list[str] = []

        async def work() -> None:
            try:
                for _ in range(3):
                    await asyncio.sleep(1)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = asyncio.create_task(within(50, work()))
        await asyncio.sleep(steps + 0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"]

    virtually(body)


def test_the_work_runs_in_the_callers_task_and_context() -> None:
    async def body() -> None:
        task = asyncio.current_task()

        async def work() -> str:
            before = (asyncio.current_task(), _where.get())
            await asyncio.sleep(1)
            assert before == (asyncio.current_task(), _where.get()) == (task, "inside")
            return _where.get()

        _where.set("inside")
        assert await within(5, work()) == "inside"

    virtually(body)
