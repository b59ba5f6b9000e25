"""The function platform's stand-in: instances, limits, retries, timers, figures."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox.scf import Function, Role, Status, Timer
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, str(Path(__file__).with_name("server.py")))


def function(*arguments: str, **options: Any) -> Function:
    return Function((*COMMAND, *arguments), {}, **options)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


async def test_an_instance_is_started_once_kept_warm_and_stands_still_between_calls() -> None:
    async with function() as one:
        assert one.pids == ()
        first = await one.invoke({"a": 1})
        (pid,) = one.pids
        assert await asyncio.to_thread(state, pid) == "T"
        second = await one.invoke({"a": 2})
        assert (first.status, second.status, first.cold, second.cold) == (Status.OK, Status.OK, True, False)
        assert first.result == {"calls": 1, "pid": pid, "path": "/event-invoke", "event": {"a": 1}}
        assert second.result["calls"] == 2
        assert first.request_id != second.request_id
        assert (one.stats.invocations, one.stats.cold_starts) == (2, 1)
    assert await asyncio.to_thread(state, pid) == "gone"


async def test_time_in_calls_is_billed_at_the_configured_memory_and_time_between_them_is_not() -> None:
    async with function(memory_mb=2048) as one:
        answers = [await one.invoke({"sleep": 0.1}) for _ in range(3)]
        stats = one.stats
        assert stats.seconds == pytest.approx(sum(answer.seconds for answer in answers), abs=0.003)
        assert stats.seconds >= 0.3
        assert stats.gb_seconds == stats.seconds * 2
        assert stats.init_seconds > 0


async def test_one_event_an_instance_and_no_more_instances_than_allowed() -> None:
    async with function(concurrency=2) as one:
        answers = await asyncio.gather(*(one.invoke({"sleep": 1}) for _ in range(3)))
        assert sorted(answer.status for answer in answers) == [Status.OK, Status.OK, Status.BUSY]
        assert len({answer.result["pid"] for answer in answers if answer.status is Status.OK}) == 2
        assert one.stats.by_status == {Status.OK: 2, Status.BUSY: 1}


async def test_what_is_sent_waits_for_an_instance() -> None:
    async with function(concurrency=1) as one:
        tasks = [one.send({"n": n}) for n in range(3)]
        await one.settle()
        assert sorted(task.result().result["calls"] for task in tasks) == [1, 2, 3]
        assert one.stats.cold_starts == 1


async def test_a_call_beyond_the_time_limit_kills_its_instance() -> None:
    async with function(time_limit_s=0.3) as one:
        answer = await one.invoke({"sleep": 30})
        assert (answer.status, one.pids) == (Status.TIME_LIMIT, ())
        assert 0.3 <= answer.seconds < 5
        assert (await one.invoke({})).result["calls"] == 1


async def test_a_call_beyond_the_memory_limit_kills_its_instance() -> None:
    async with function(memory_mb=128) as one:
        answer = await one.invoke({"grow": 300})
        assert (answer.status, one.pids) == (Status.MEMORY_LIMIT, ())


async def test_a_process_that_ends_in_a_call() -> None:
    async with function() as one:
        assert (await one.invoke({"die": 7})).status == Status.DIED
        assert (await one.invoke({})).cold


@pytest.mark.parametrize("how", ["--never", "--end"])
async def test_a_server_that_does_not_come_up(how: str) -> None:
    async with function(how, init_limit_s=0.5) as one:
        answer = await one.invoke({})
        assert answer.status == Status.NOT_STARTED
        assert one.pids == ()


async def test_what_the_function_says_of_its_failure_is_told_and_the_instance_lives_on() -> None:
    async with function() as one:
        answer = await one.invoke({"raise": "no bucket"})
        assert (answer.status, answer.error["errorMessage"]) == (Status.FAILED, "no bucket")
        assert not (await one.invoke({})).cold


async def test_what_was_sent_is_tried_three_times_and_no_more(tmp_path: Path) -> None:
    async with function(retry_after_s=0.01) as one:
        third = await one.send({"fail_until": 3, "file": str(tmp_path / "third")})
        assert (third.status, one.stats.retries) == (Status.OK, 2)
        never = await one.send({"fail_until": 9, "file": str(tmp_path / "never")})
        assert never.status == Status.FAILED
        assert one.stats.by_status == {Status.OK: 1, Status.FAILED: 5}
        assert (await one.invoke({"raise": "x"})).status == Status.FAILED
        assert one.stats.retries == 4


async def test_an_event_that_is_too_large_reaches_nobody() -> None:
    async with function() as one:
        assert (await one.send("x" * (128 << 10))).status == Status.EVENT_TOO_LARGE
        assert one.stats.cold_starts == 0
        assert (await one.invoke("x" * (128 << 10))).status == Status.OK


async def test_each_call_is_given_its_context_and_fresh_credentials() -> None:
    numbers = itertools.count(1)
    role = lambda: Role("AKIDexample", "the-key", f"token-{next(numbers)}")  # noqa: E731 - as it is passed
    async with function(memory_mb=256, time_limit_s=7, role=role, name="drain") as one:
        first, second = [(await one.invoke({"headers": 1})).result["headers"] for _ in range(2)]
    assert (first["X-Scf-Memory"], first["X-Scf-Timeout"], first["X-Scf-Name"]) == ("256", "7000", "drain")
    assert (first["X-Scf-Secret-Id"], first["X-Scf-Secret-Key"]) == ("AKIDexample", "the-key")
    assert [headers["X-Scf-Session-Token"] for headers in (first, second)] == ["token-1", "token-2"]


async def test_a_function_without_a_role_is_given_no_credentials() -> None:
    async with function() as one:
        headers = (await one.invoke({"headers": 1})).result["headers"]
    assert not [name for name in headers if name.lower().startswith(("x-scf-secret", "x-scf-session"))]


async def test_a_timer_calls_again_and_again() -> None:
    async with function(concurrency=3) as one, Timer(one, 0.05, message="hello", name="every"):
        async with asyncio.timeout(PATIENCE_S):
            while one.stats.invocations < 3:  # noqa: ASYNC110 - processes tell no event
                await asyncio.sleep(0.01)
        answer = await one.send({"last": 1})
    assert answer.status == Status.OK
    assert one.stats.by_status == {Status.OK: one.stats.invocations}


async def test_a_timers_event_has_the_platforms_form() -> None:
    async with function() as one:
        seen: list[Any] = []
        one.send = seen.append  # type: ignore[method-assign, assignment]  # what would be sent
        async with Timer(one, 60, message="hello", name="every"):
            await asyncio.sleep(0)
    (event,) = seen
    assert set(event) == {"Type", "TriggerName", "Time", "Message"}
    assert (event["Type"], event["TriggerName"], event["Message"]) == ("Timer", "every", "hello")


async def test_what_instances_print_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with function(log=log) as one:
        await one.invoke({})
    assert await asyncio.to_thread(log.read_text) == "up\n"
