"""The backend's state of a step, requested before results are shown: a plain answer counts, and the wait is short."""

from __future__ import annotations

import httpx
import pytest

from services.backend import Backend, StepState
from telemetry.secrets import Secret
from tests.contract.backend.test_client import NOW, SECRET, StandIn, client, failure, standin, success

__all__ = ["standin"]


async def test_a_step_that_is_under_way_has_no_verdict(standin: StandIn) -> None:
    task = await standin.sell()
    async with client(standin) as backend:
        assert await backend.state(task, 0) == StepState("", "u1", NOW)


@pytest.mark.parametrize("end", ["success", "failed", "cancelled"])
async def test_a_state_is_the_verdict_that_it_equals(standin: StandIn, end: str) -> None:
    task = await standin.sell()
    async with client(standin) as backend:
        if end == "cancelled":
            await standin.call("POST", f"/api/tasks/{task}/cancel")
        else:
            await backend.deliver(success(task) if end == "success" else failure(task))
        assert await backend.state(task, 0) == StepState("success" if end == "success" else "failed", "u1", NOW)


async def test_a_step_that_was_never_sold_says_nothing(standin: StandIn) -> None:
    async with client(standin) as backend:
        assert await backend.state("never-sold", 0) is None


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_an_answer_that_says_nothing_is_none(standin: StandIn, status: int) -> None:
    task = await standin.sell()
    await standin.fault(on="state", status=status, task_id=task, times=3 if status in {429, 500, 503} else 1)
    async with client(standin) as backend:
        assert await backend.state(task, 0) is None
        assert await backend.state(task, 0) == StepState("", "u1", NOW)


async def test_it_is_not_waited_for(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.backend._STATE_S", 0.05)
    task = await standin.sell()
    await standin.fault(on="state", kind="hang", task_id=task)
    async with client(standin, timeout=3600) as backend:
        assert await backend.state(task, 0) is None


@pytest.mark.parametrize("created", [b"", b', "created": null', b', "created": 0'])
async def test_a_backend_that_does_not_say_when_it_sold_the_step(created: bytes) -> None:
    body = b'{"status": "pending", "user": "u1"' + created + b"}"
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    backend = Backend(base_url="https://b", secret=Secret(SECRET), clock=lambda: NOW, transport=transport)
    assert await backend.state("t", 0) == StepState("", "u1", 0.0)
    await backend.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"status": 7}', b"\xff", b"<html>"])
async def test_what_cannot_be_read_is_none(body: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    backend = Backend(base_url="https://b", secret=Secret(SECRET), clock=lambda: NOW, transport=transport)
    assert await backend.state("t", 0) is None
    await backend.close()


async def test_a_backend_without_the_question_is_not_asked() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise AssertionError("asked")

    backend = Backend(
        base_url="https://b",
        secret=Secret(SECRET),
        clock=lambda: NOW,
        asks_state=False,
        transport=httpx.MockTransport(refuse),
    )
    assert await backend.state("t", 0) is None
    await backend.close()


async def test_another_secret_is_refused(standin: StandIn) -> None:
    task = await standin.sell()
    async with client(standin, secret=Secret("another secret")) as backend:
        assert await backend.state(task, 0) is None
