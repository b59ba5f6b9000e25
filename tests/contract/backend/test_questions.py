"""Questions to the backend are repeated after a short failure; a callback is sent once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from services.backend import Backend, Callback, StepState
from services.errors import BackendDown, BadQuestion
from telemetry.secrets import Secret
from tests.engine.virtual import virtually, wall

Ask = Callable[[Backend], Awaitable[Any]]
QUESTIONS: dict[str, Ask] = {
    "state": lambda backend: backend.state("t", 0),
    "unfinished": lambda backend: backend.unfinished(600),
    "reopen": lambda backend: backend.reopen("t", 0, 1),
}
GOOD = b'{"status": "failed", "user": "u", "rows": []}'


class Scripted:
    """Answers with statuses in turn, and then 200."""

    def __init__(self, *statuses: int, headers: dict[str, str] | None = None, takes: float = 0.0) -> None:
        self._statuses = [*statuses]
        self._headers = headers or {}
        self._takes = takes
        self.asked: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        await asyncio.sleep(self._takes)
        status = self._statuses.pop(0) if self._statuses else 200
        if status == 0:
            raise httpx.ReadError("cut")
        return httpx.Response(status, headers=self._headers if status != 200 else {}, content=GOOD)


def ask(question: Ask, scripted: Scripted) -> tuple[Any, float]:
    """The answer, and the seconds that it took."""
    found: list[tuple[Any, float]] = []

    async def body() -> None:
        transport = httpx.MockTransport(scripted)
        backend = Backend(base_url="http://b", secret=Secret("s" * 32), clock=wall, transport=transport)
        found.append((await question(backend), asyncio.get_running_loop().time()))
        await backend.close()

    virtually(body)
    return found[0]


@pytest.mark.parametrize("status", [0, 408, 425, 429, 500, 502, 503])
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_that_met_a_bad_moment_is_asked_again(name: str, status: int) -> None:
    scripted = Scripted(status)
    answer, took = ask(QUESTIONS[name], scripted)
    assert answer
    assert len(scripted.asked) == 2
    assert took < 2


def test_every_try_is_signed_when_it_is_sent() -> None:
    scripted = Scripted(503, 503, headers={"Retry-After": "2"})
    ask(QUESTIONS["unfinished"], scripted)
    first, *_, last = [int(request.headers["X-Timestamp"]) for request in scripted.asked]
    assert last - first >= 4


@pytest.mark.parametrize(("status", "error"), [(401, BackendDown), (403, BackendDown), (404, None), (422, BadQuestion)])
@pytest.mark.parametrize("name", ["unfinished", "reopen"])
def test_an_answer_that_stands_is_not_asked_for_again(name: str, status: int, error: type[Exception] | None) -> None:
    scripted = Scripted(status)
    if error is None and name == "reopen":
        assert ask(QUESTIONS[name], scripted)[0] is False
    else:
        with pytest.raises(error or BackendDown):
            ask(QUESTIONS[name], scripted)
    assert len(scripted.asked) == 1


def test_a_long_wait_is_left_to_the_message() -> None:
    scripted = Scripted(503, headers={"Retry-After": "30"})
    with pytest.raises(BackendDown):
        ask(QUESTIONS["unfinished"], scripted)
    assert len(scripted.asked) == 1


def test_the_state_is_asked_for_within_its_two_seconds() -> None:
    scripted = Scripted(503, 503, 503, headers={"Retry-After": "1.5"}, takes=0.9)
    answer, took = ask(QUESTIONS["state"], scripted)
    assert answer is None
    assert took == pytest.approx(2.0)
    assert ask(QUESTIONS["state"], Scripted(503))[0] == StepState("failed", "u")


def test_a_callback_is_sent_once() -> None:
    scripted = Scripted(503)
    with pytest.raises(BackendDown):
        ask(lambda backend: backend.deliver(Callback(task="t", status="failed")), scripted)
    assert len(scripted.asked) == 1
