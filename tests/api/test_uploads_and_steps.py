"""Clients that upload themselves, and steps that the backend starts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from messages.bodies import Stage
from messages.keys import InputKey, RunId
from services.signatures import sign_v2
from tasks.accepting import tickets
from tasks.accepting.accept import take_in
from tasks.accepting.inputs import find_upload
from telemetry.secrets import Secret
from tests.api.conftest import CALLBACK, PICTURE, TICKETS, URL

if TYPE_CHECKING:
    from tests.api.conftest import Door, Open

UPLOADS = "/api/v1/ai-generation/uploads"
STEPS = "/internal/steps"


def _key(url: str) -> str:
    return httpx.URL(url).path.lstrip("/")


async def test_the_uploads_start_the_task_when_the_last_one_is_there(door: Open) -> None:
    async with door() as here:
        asked = {"kind": "basic_clean", "params": {"format": "webp"}, "extensions": ["JPG", "png"]}
        answer = await here.ask("POST", UPLOADS, json=asked)
        assert answer.status_code == 201, answer.text
        run = RunId("u1", answer.json()["taskId"])
        *files, last = answer.json()["uploads"]
        for part in files:
            await here.data.put(_key(part["url"]), PICTURE)
            assert part["body"] == ""
        assert await find_upload("u1", run.task, here.data) is None
        await here.data.put(_key(last["url"]), last["body"].encode())
        upload = await find_upload("u1", run.task, here.data)
        assert upload == InputKey("u1", run.task, "task.json")
        assert await take_in(upload, here.api.services) == "accepted"
        accepted = await here.ledger.accepted(run)
        assert accepted is not None
        assert [source.key for source in accepted.inputs] == [
            f"input/u1/{run.task}/input_01.jpg",
            f"input/u1/{run.task}/input_02.png",
        ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"extensions": ["heic"]}, "extensions[0]"),
        ({"extensions": ["jpg", "exe"]}, "extensions[1]"),
        ({"extensions": []}, "extensions"),
        ({"extensions": ["jpg"] * 13}, "extensions"),
        ({"extensions": ["a/b"]}, "extensions[0]"),
        ({}, "extensions"),
        ({"extensions": ["jpg"], "kind": "none"}, "kind"),
        ({"extensions": ["jpg"], "params": {"format": "gif"}}, "format"),
    ],
)
async def test_an_upload_that_cannot_be_used_is_not_sold(door: Open, body: dict[str, Any], field: str) -> None:
    async with door() as here:
        answer = await here.ask("POST", UPLOADS, json={"kind": "basic_clean", **body})
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert (await here.account())["tasks"] == []


async def test_the_same_key_brings_the_same_uploads(door: Open) -> None:
    async with door() as here:
        asked = {"kind": "basic_clean", "extensions": ["jpg"]}
        answers = [await here.ask("POST", UPLOADS, json=asked, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert answers[0].json()["taskId"] == answers[1].json()["taskId"]
        assert (await here.account())["charged"] == 1


# ---- steps of a pipeline ---------------------------------------------------------------------------------------------


def _ticket(here: Door, step: int, **changes: Any) -> str:
    sold = tickets.Ticket(
        user="u1",
        task="t1",
        step=step,
        kind="basic_clean",
        params_digest=tickets.digest({}),
        expires=int(here.ledger.now()) + 600,
    )
    return tickets.issue(msgspec.structs.replace(sold, **changes), Secret(TICKETS))


async def _start(
    here: Door,
    body: dict[str, Any],
    *,
    at: float = 0.0,
    secret: str = CALLBACK,
    signed: str = STEPS,
    host: str = "api.example",
) -> httpx.Response:
    document = msgspec.json.encode(body)
    timestamp = int(at or time.time())
    headers = {
        "Host": host,
        "Content-Type": "application/json",
        "X-Timestamp": str(timestamp),
        "X-Internal-Signature-V2": sign_v2(Secret(secret), "POST", signed, timestamp, "", document),
    }
    return await here.http.post(STEPS, content=document, headers=headers)


def _step(here: Door, **changes: Any) -> dict[str, Any]:
    body = {"userId": "u1", "taskId": "t1", "step": 1, "kind": "basic_clean", "inputs": ["output/u1/t1/a.jpg"]}
    return {**body, "ticket": _ticket(here, 1), **changes}


async def test_the_backend_starts_a_step_with_the_results_of_the_one_before(door: Open) -> None:
    async with door() as here:
        info = await here.data.put("output/u1/t1/a.jpg", PICTURE)
        for _ in range(2):
            answer = await _start(here, _step(here))
            assert answer.status_code == 202, answer.text
        assert answer.json()["statusUrl"].endswith("/tasks/t1?step=1")
        accepted = await here.ledger.accepted(RunId("u1", "t1", 1))
        assert accepted is not None
        assert [(source.key, source.etag) for source in accepted.inputs] == [(info.key, info.etag)]
        messages = await here.sent()
        assert {(message.header.stage, message.header.step) for message in messages} == {(Stage.CLEAN, 1)}
        state = await here.ask("GET", "/api/v1/ai-generation/tasks/t1?step=1")
        assert (state.status_code, state.json()["step"], state.json()["state"]) == (200, 1, "queued")


async def test_a_step_that_the_backend_did_not_sign(door: Open) -> None:
    async with door() as here:
        for answer in (
            await _start(here, _step(here), secret="another-secret-of-callbacks"),
            await _start(here, _step(here), at=time.time() - 400),
            # A signature for another path, and a host that would make this one of it.
            await _start(here, _step(here), signed=f"/other{STEPS}", host="api.example/other"),
            await here.http.post(STEPS, json=_step(here)),
            await here.ask("POST", STEPS, json=_step(here)),
        ):
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert await here.ledger.accepted(RunId("u1", "t1", 1)) is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"ticket": "x"}, 422),
        ({"step": 2}, 422),
        ({"params": {"format": "webp"}}, 422),
        ({"inputs": ["output/u2/t1/a.jpg"]}, 422),
        ({"inputs": [URL, URL]}, 422),
        ({"step": 0}, 422),
        ({"taskId": "../t"}, 422),
        ({"more": 1}, 422),
    ],
)
async def test_a_step_that_was_not_sold_so(door: Open, changes: dict[str, Any], status: int) -> None:
    async with door() as here:
        await here.data.put("output/u1/t1/a.jpg", PICTURE)
        assert (await _start(here, _step(here, **changes))).status_code == status
