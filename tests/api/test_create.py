"""Creating a task: what is refused was not sold, what is sold is never lost, and a purchase is made once."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from messages.bodies import Clean, Stage, Wake
from messages.keys import RunId
from producer.api.context import Background
from services.errors import ObjectsDown
from tasks.accepting.accept import take_in
from tasks.accepting.inputs import find_upload, source_key
from tasks.context import Policy
from tasks.ledger.records import InputRef
from telemetry.secrets import Secret
from tests.api.conftest import CREATE, PICTURE, TASKS, URL, body_of
from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from tests.api.conftest import Open


async def no_new_objects(operation: str, key: str, *, done: bool) -> None:
    if operation == "put_new" and not done:
        raise ObjectsDown("away", retry_after=30)


async def test_a_task_is_sold_stored_and_accepted(door: Open) -> None:
    async with door() as here:
        answer = await here.create(params={"format": "webp"})
        assert answer.status_code == 202
        task = answer.json()["taskId"]
        assert answer.headers["Location"] == answer.json()["statusUrl"] == f"{TASKS}/{task}"
        assert answer.json()["state"] == "queued"
        stored = await here.data.get(f"source/u1/{task}/task.json")
        request = body_of(stored.body)
        assert (request["kind"], request["params"], request["inputs"]) == ("basic_clean", {"format": "webp"}, [URL])
        accepted = await here.ledger.accepted(RunId("u1", task))
        assert accepted is not None
        assert accepted.inputs == (InputRef("", "", 0, URL),)
        (message,) = await here.sent()
        assert (message.header.stage, message.body) == (Stage.CLEAN, Clean())
        account = await here.account()
        assert (account["charged"], account["tasks"][0]["user_id"]) == (1, "u1")


async def test_an_object_of_ones_own_may_be_an_input(door: Open) -> None:
    async with door() as here:
        info = await here.data.put("output/u1/t0/result_01.jpg", PICTURE)
        run = await here.created(inputs=[info.key])
        accepted = await here.ledger.accepted(run)
        assert accepted is not None
        assert accepted.inputs == (InputRef(info.key, info.etag, info.size),)


async def test_the_same_key_and_body_is_the_same_task(door: Open) -> None:
    async with door() as here:
        first, second = await here.create(key="k"), await here.create(key="k")
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json() == second.json()
        other = await here.create(key="k", params={"format": "png"})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key")
        assert other.json()["field"] == "Idempotency-Key"
        # Another user may use the same key.
        assert (await here.create("u2", key="k")).json()["taskId"] != first.json()["taskId"]
        assert (await here.account())["charged"] == 2


async def test_without_quota_nothing_is_sold(door: Open) -> None:
    async with door() as here:
        (await here.backend.put("/_sandbox/quota", json={"user_id": "u1", "quota": 1})).raise_for_status()
        assert (await here.create()).status_code == 202
        refused = await here.create()
        assert (refused.status_code, refused.json()["code"], refused.json()["message"]) == (402, "quota", "额度不足")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert (await here.create("u2")).status_code == 202


@pytest.mark.parametrize(("status", "code"), [(409, "conflict"), (429, "too_many_requests")])
async def test_the_backends_refusal_is_handed_on(door: Open, status: int, code: str) -> None:
    async with door() as here:
        await here.arm(kind="answer", status=status, headers={"Retry-After": "7"})
        answer = await here.create()
        assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (status, code, "7")


async def test_a_backend_that_is_away_is_a_503_and_the_same_key_sells_once(door: Open) -> None:
    async with door() as here:
        await here.arm(kind="answer", status=500, times=3)
        answer = await here.create(key="k")
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await here.create(key="k")).status_code == 202
        assert (await here.account())["charged"] == 1


async def test_an_answer_that_was_lost_is_asked_for_again(door: Open) -> None:
    async with door() as here:
        await here.arm(kind="answer", status=502, times=1)
        assert (await here.create()).status_code == 202
        assert (await here.account())["charged"] == 1


async def test_a_store_that_is_away_after_the_sale_is_a_503_and_the_key_brings_the_same_task(door: Open) -> None:
    async with door() as here:
        here.data.faults = no_new_objects
        assert (await here.create(key="k")).status_code == 503
        here.data.faults = None
        task = (await here.create(key="k")).json()["taskId"]
        account = await here.account()
        assert (account["charged"], account["tasks"][0]["task_id"]) == (1, task)


async def test_a_sold_task_whose_acceptance_fails_gets_a_wake(door: Open) -> None:
    async with door() as here:
        here.records.faults = no_new_objects
        answer = await here.create()
        assert answer.status_code == 202
        (message,) = await here.sent()
        assert message.body == Wake("api")
        here.records.faults = None
        assert (await here.ask("GET", answer.json()["statusUrl"])).json()["state"] == "queued"


async def test_the_answer_waits_for_no_slow_acceptance(door: Open) -> None:
    released = asyncio.Event()

    async def slow(operation: str, key: str, *, done: bool) -> None:
        if operation == "put_new" and not done:
            await released.wait()

    async with door(respond_within_s=0.01) as here:
        here.records.faults = slow
        run = await here.created()
        assert await here.ledger.accepted(run) is None
        released.set()
        await here.api.background.finish(PATIENCE_S)
        assert await here.ledger.accepted(run) is not None


@pytest.mark.parametrize(("holds_s", "passes"), [(3600.0, False), (0.01, True)])
async def test_a_burst_of_requests_is_answered_before_its_tasks_are_accepted(*, holds_s: float, passes: bool) -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    background = Background(1, holds_s)
    with background.request(), background.request():
        await background.run(work(), 0.0)
        await background.finish(PATIENCE_S if passes else 0.05)
        assert done.is_set() == passes
    await background.finish(PATIENCE_S)
    assert done.is_set()


async def test_a_sold_task_whose_process_died_is_found_by_its_task_file(door: Open) -> None:
    async with door() as here:
        run = await here.created()
        fresh = RunId("u1", "another")
        stored = await here.data.get(f"source/u1/{run.task}/task.json")
        await here.data.put("source/u1/another/task.json", stored.body)
        # As the sweep's wake does; this ticket is for another task, so it is refused without a verdict.
        found = await find_upload("u1", run.task, here.data)
        assert found == source_key(run)
        assert await take_in(found, here.api.services) == "again"
        assert await take_in(source_key(fresh), here.api.services) == "rejected"
        assert await here.ledger.verdict(fresh) is None


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "nothing"}, "kind"),
    ({"params": {"format": "gif"}}, "format"),
    ({"params": {"colour": "red"}}, "colour"),
    ({"params": {"inputs": [URL]}}, "inputs"),
    ({"params": {"quality": 0}}, "quality"),
    ({"params": {"format": "jpg", "background": "goods"}}, "format"),
    ({"kind": "photography", "params": {"scene": "moon"}}, "scene"),
    ({"kind": "ai_image_generate", "params": {"prompt": " "}, "inputs": []}, "prompt"),
    ({"inputs": []}, "inputs"),
    ({"inputs": [URL] * 13}, "inputs"),
    ({"inputs": ["photo.jpg"]}, "inputs[0]"),
    ({"inputs": [URL, "input/u2/t/original.jpg"]}, "inputs[1]"),
    ({"inputs": ["input/u1/t/absent.jpg"]}, "inputs[0]"),
    ({"inputs": ["input/u1/../u2/t/original.jpg"]}, "inputs[0]"),
    ({"inputs": ["ledger/u1/t/0-0/accepted"]}, "inputs[0]"),
    ({"inputs": ["source/u1/t/task.json"]}, "inputs[0]"),
    ({"inputs": ["output/u1/t/photo.heic"]}, "inputs[0]"),
    ({"inputs": [1]}, "inputs[0]"),
    ({"inputs": ["https://e.example/" + "x" * 2050]}, "inputs[0]"),
    ({"other": 1}, "other"),
    ({"kind": 1}, "kind"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
async def test_bad_input_is_refused_with_its_field_and_nothing_is_sold(
    door: Open, body: dict[str, Any], field: str
) -> None:
    async with door() as here:
        answer = await here.create(**body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["field"] == field
        assert answer.json()["message"]
        assert (await here.account())["tasks"] == []


@pytest.mark.parametrize(
    ("mode", "body", "field"),
    [
        ("generate", {}, "clothingImages"),
        ("generate", {"clothingImages": URL}, "clothingImages"),
        ("generate", {"clothingImages": [URL, "https://e.example/" + "x" * 2050]}, "clothingImages[1]"),
        ("generate", {"clothingImages": [URL], "images": [URL]}, "images"),
        ("generate-prompt", {"imageUrl": [URL]}, "imageUrl"),
        ("generate-prompt", {"imageUrl": ""}, "imageUrl"),
        ("generate-only", {"prompt": "a", "options": {"size": "1x1"}}, "size"),
        ("generate-only", {"prompt": "a", "options": {"n": "2"}}, "options.n"),
    ],
)
async def test_a_mode_names_its_own_field(door: Open, mode: str, body: dict[str, Any], field: str) -> None:
    async with door() as here:
        answer = await here.ask("POST", f"/api/ai-image/{mode}", json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
        assert (await here.account())["tasks"] == []


async def test_a_ticket_that_the_workers_would_refuse_is_an_outage_of_the_backend(door: Open) -> None:
    async with door() as here:
        other = dataclasses.replace(here.api.services, policy=Policy(ticket_secret=Secret("of another backend" * 3)))
        here.serve(dataclasses.replace(here.api, services=other))
        answer = await here.create()
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert (await here.data.list("source/")).items == ()


async def test_the_reason_of_a_503_is_logged(door: Open, caplog: pytest.LogCaptureFixture) -> None:
    async with door() as here:
        await here.arm(kind="answer", status=403)
        assert (await here.create()).status_code == 503
    assert "api.unavailable" in [record.msg for record in caplog.records]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'"x"', b"[" * 5000, b'{"kind": NaN}'])
async def test_a_body_that_is_no_object(door: Open, body: bytes) -> None:
    async with door() as here:
        headers = {"Content-Type": "application/json"}
        for path in (CREATE, "/api/ai-image/generate", "/api/v1/ai-generation/uploads"):
            assert (await here.ask("POST", path, content=body, headers=headers)).status_code == 422


async def test_a_body_that_is_too_long_or_no_json(door: Open) -> None:
    async with door() as here:
        headers = {"Content-Type": "application/json"}
        assert (await here.ask("POST", CREATE, content=b" " * 65537, headers=headers)).status_code == 413
        assert (
            await here.ask("POST", CREATE, content=b"a=1", headers={"Content-Type": "text/plain"})
        ).status_code == 415


@pytest.mark.parametrize("key", ["x" * 201, "a b", "ü".encode().decode("latin-1")])
async def test_an_idempotency_key_that_cannot_be_used(door: Open, key: str) -> None:
    async with door() as here:
        answer = await here.ask(
            "POST",
            CREATE,
            headers={"Idempotency-Key": key.encode("latin-1")},
            json={"kind": "basic_clean", "inputs": [URL]},
        )
        assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")


async def test_a_user_may_create_so_many_tasks_a_minute(door: Open) -> None:
    async with door(per_minute=2) as here:
        statuses = [(await here.create()).status_code for _ in range(3)]
        assert statuses == [202, 202, 429]
        last = await here.create()
        assert int(last.headers["Retry-After"]) >= 1
        assert (await here.create("u2")).status_code == 202
        # Requests that buy nothing have a limit of their own.
        statuses = [(await here.ask("GET", TASKS)).status_code for _ in range(22)]
        assert (statuses.count(200), statuses[-1]) == (20, 429)
