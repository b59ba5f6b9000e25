"""The stand-in by itself: it must refuse what a strict backend refuses, and keep its account right in every case."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.codes import Code
from sandbox.backend import create_app
from sandbox.backend.quota_account import QuotaAccount, ReceivedCallback, answer_to
from services.errors import TicketRefused
from tasks.accepting import tickets
from telemetry.secrets import Secret

SECRET = "callback-secret-0123"
TICKET_SECRET = "ticket-secret-of-enough-bytes-0123456"
NOW = 1_700_000_000


@asynccontextmanager
async def backend(
    data_dir: Path | None = None, now: int = NOW, *, demands_v2: bool = True
) -> AsyncGenerator[httpx.AsyncClient]:
    app = await asyncio.to_thread(
        lambda: create_app(
            secret=SECRET,
            ticket_secret=TICKET_SECRET,
            clock=lambda: now,
            data_dir=data_dir,
            demands_v2=demands_v2,
        )
    )
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://backend", trust_env=False) as http,
    ):
        yield http


async def sell(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await http.post("/api/tasks", json={"user_id": "u1", "kind": "model_pose12"} | more)
    assert answer.status_code == 201
    return dict(answer.json())


def hmac_hex(text: bytes) -> str:
    return hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()


def v2(path: str, body: bytes = b"", *, method: str = "POST", now: int = NOW, run: str = "0") -> dict[str, str]:
    text = f"v2\n{method}\n{path}\n{now}\n{run}\n{hashlib.sha256(body).hexdigest()}"
    return {"X-Internal-Signature-V2": hmac_hex(text.encode()), **({"X-Internal-Run": run} if run else {})}


def callback_path(task: str, step: int = 0) -> str:
    return f"/api/internal/tasks/{task}/steps/{step}/callback"


def signed(
    task: str, body: bytes, *, step: int = 0, now: int = NOW, whole: bool = True, path: str = ""
) -> dict[str, str]:
    headers = {"X-Timestamp": str(now), "X-Internal-Signature": hmac_hex(f"{task}{step}{now}".encode())}
    return headers | (v2(path or callback_path(task, step), body, now=now) if whole else {})


FAILED = json.dumps({"status": "failed", "output": {"error_message": "生成超时"}}).encode()


async def call(
    http: httpx.AsyncClient, task: str, body: bytes = FAILED, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    path = f"/api/internal/tasks/{task}/steps/0/callback"
    return await http.post(path, content=body, headers=headers if headers is not None else signed(task, body))


async def book(http: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await http.get("/_sandbox/quota")).json())


async def test_a_sale_charges_one_and_gives_a_ticket_the_workers_accept() -> None:
    params = {"style": "街拍", "strength": 1.0, "half": 0.5, "list": [1, {"b": None, "a": True}]}
    async with backend() as http:
        sold = await sell(http, params=params)
        assert (await book(http))["charged"] == 1
    assert re.fullmatch(r"[A-Za-z0-9_-]{32,64}", sold["task_id"])
    assert sold["input_prefix"] == f"input/u1/{sold['task_id']}/"

    def verify(**other: Any) -> tickets.Ticket:
        asked: dict[str, Any] = {"now": NOW, "kind": "model_pose12", "params": params}
        ticket = tickets.verify(sold["ticket"], Secret(TICKET_SECRET), user="u1", task=sold["task_id"], step=0)
        tickets.check_sold(ticket, **(asked | other))
        return ticket

    assert verify().expires == sold["expires"]
    with pytest.raises(TicketRefused):
        verify(params={**params, "strength": 2})
    with pytest.raises(TicketRefused) as caught:
        verify(now=sold["expires"])
    assert caught.value.code is Code.TICKET_EXPIRED


@pytest.mark.parametrize(
    "order",
    [
        {"user_id": "../u", "kind": "basic_clean"},
        {"user_id": "", "kind": "basic_clean"},
        {"user_id": "u" * 65, "kind": "basic_clean"},
        {"user_id": "-", "kind": "basic_clean"},
        {"user_id": "u1\n", "kind": "basic_clean"},
        {"user_id": "u1", "kind": "Basic Clean"},
        {"user_id": "u1", "kind": "basic_clean", "params": []},
        {"user_id": "u1", "kind": "basic_clean", "step": -1},
        {"user_id": "u1"},
        [],
    ],
)
async def test_an_order_that_cannot_be_used_is_not_charged(order: object) -> None:
    async with backend() as http:
        assert (await http.post("/api/tasks", json=order)).status_code == 422
        assert (await book(http)) == {"charged": 0, "refunded": 0, "tasks": [], "strays": []}


async def test_task_ids_cannot_be_guessed() -> None:
    async with backend() as http:
        assert len({(await sell(http))["task_id"] for _ in range(20)}) == 20


async def test_a_backend_that_knows_no_v2_is_played_too() -> None:
    async with backend(demands_v2=False) as http:
        task = (await sell(http))["task_id"]
        assert (await call(http, task, headers=signed(task, FAILED, whole=False))).status_code == 200
        assert (await book(http))["tasks"][0]["callbacks"][0]["v2"] == "missing"


@pytest.mark.parametrize(
    "wrong",
    [
        {"X-Internal-Signature": "0" * 64},
        {"X-Internal-Signature": ""},
        {"X-Timestamp": str(NOW - 1)},
        {"X-Timestamp": "yesterday"},
        {"X-Timestamp": ""},
        {"X-Internal-Signature-V2": "0" * 64},
        {"X-Internal-Signature-V2": ""},
        {"X-Internal-Signature-V2": hmac_hex(FAILED)},
        {"X-Internal-Run": "1"},
        v2("/api/internal/tasks/other/steps/0/callback", FAILED),
        v2("", FAILED),
    ],
)
async def test_any_wrong_seal_is_403_changes_nothing_and_is_noted(wrong: dict[str, str]) -> None:
    async with backend() as http:
        task = (await sell(http))["task_id"]
        assert (await call(http, task, headers=signed(task, FAILED) | wrong)).status_code == 403
        (row,) = (await book(http))["tasks"]
        assert (row["status"], row["refunds"]) == ("pending", 0)
        assert [(one["signature_ok"], one["http_status"]) for one in row["callbacks"]] == [(False, 403)]


async def test_a_body_changed_on_the_way_is_403() -> None:
    changed = FAILED.replace(b"failed", b"success")
    async with backend() as http:
        task = (await sell(http))["task_id"]
        assert (await call(http, task, changed, signed(task, FAILED))).status_code == 403


async def test_a_signature_for_another_task_or_step_is_403() -> None:
    async with backend() as http:
        one, other = (await sell(http))["task_id"], (await sell(http))["task_id"]
        assert (await call(http, one, headers=signed(other, FAILED))).status_code == 403
        assert (await call(http, one, headers=signed(one, FAILED, step=1))).status_code == 403


@pytest.mark.parametrize("age", [-301, 301])
async def test_an_old_or_future_call_is_403(age: int) -> None:
    async with backend() as http:
        task = (await sell(http))["task_id"]
        assert (await call(http, task, headers=signed(task, FAILED, now=NOW + age))).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"status": "done", "output": {}}',
        b'{"status": "failed", "output": {}}',
        b'{"status": "success", "output": {"resultUrls": []}}',
        b'{"status": "success", "output": {"resultUrls": ["https://vendor.example/x.png"]}}',
        b'{"status": "success", "output": {"resultUrls": ["cos://output/u2/t/frame_01.jpg"]}}',
        b'{"status": "success", "output": {"resultUrls": 5}}',
    ],
)
async def test_a_verdict_that_says_nothing_usable_is_422_and_noted(body: bytes) -> None:
    async with backend() as http:
        task = (await sell(http))["task_id"]
        assert (await call(http, task, body)).status_code == 422
        (row,) = (await book(http))["tasks"]
        assert (row["status"], row["callbacks"][0]["http_status"]) == ("pending", 422)


async def test_the_older_form_is_verified_as_well() -> None:
    async with backend() as http:
        task = (await sell(http))["task_id"]
        body = json.dumps({"taskId": task, "status": "failed", "errorReason": "生成超时"}).encode()
        path = "/internal/task/update"
        forged = signed(task, body, path=path) | {"X-Internal-Signature": hmac_hex(b"x")}
        assert (await http.post(path, content=body, headers=forged)).status_code == 403
        assert (await http.post(path, content=b"junk", headers=signed(task, b"junk", path=path))).status_code == 403
        assert (await http.post(path, content=body, headers=signed(task, body, path=path))).json() == {
            "status": "failed"
        }
        found = await book(http)
        assert (found["refunded"], found["tasks"][0]["error"]) == (1, "生成超时")
        assert [one["http_status"] for one in found["strays"]] == [403]


async def test_questions_need_their_own_signature() -> None:
    async with backend() as http:
        task = (await sell(http))["task_id"]
        path = f"/api/internal/tasks/{task}/steps/0/reopen"
        assert (await http.post(path, headers=signed(task, b""))).status_code == 403
        assert (await http.get("/api/internal/tasks/unfinished")).status_code == 403
        own = {"X-Timestamp": str(NOW), "X-Internal-Signature": hmac_hex(f"{path}{NOW}".encode())}
        assert (await http.post(path, headers=own)).status_code == 403
        unnamed = own | v2(path, run="")
        assert (await http.post(path, headers=unnamed)).status_code == 422
        own |= v2(path, run="1")
        assert (await http.post(path, headers=own | {"X-Internal-Run": "2"})).status_code == 403
        assert (await http.post(path, headers=own)).json() == {"status": "pending"}
        assert (await http.post(path, headers=own, content=b"{}")).status_code == 403
        assert (await http.post(f"{path}?more=1", headers=own)).status_code == 403


async def test_a_cursor_that_cannot_be_read_is_400() -> None:
    path = "/api/internal/tasks/unfinished"
    own = {"X-Timestamp": str(NOW), "X-Internal-Signature": hmac_hex(f"{path}{NOW}".encode())}
    own |= v2(f"{path}?cursor=x", method="GET", run="")
    async with backend() as http:
        assert (await http.get(path, params={"cursor": "x"}, headers=own)).status_code == 400


async def test_the_conflict_tells_which_state_stands() -> None:
    async with backend() as http:
        task = (await sell(http))["task_id"]
        await call(http, task)
        won = {"status": "success", "output": {"resultUrls": [f"cos://output/u1/{task}/frame_01.jpg"]}}
        answer = await call(http, task, json.dumps(won).encode())
        assert (answer.status_code, answer.json()) == (409, {"status": "failed"})


async def test_cancelling_refunds_what_is_pending_only() -> None:
    async with backend() as http:
        open_one, done = (await sell(http))["task_id"], (await sell(http))["task_id"]
        await call(http, done)
        assert (await http.post(f"/api/tasks/{open_one}/cancel")).json() == {"status": "cancelled"}
        assert (await http.post(f"/api/tasks/{open_one}/cancel")).status_code == 200
        assert (await http.post(f"/api/tasks/{done}/cancel")).status_code == 409
        assert (await http.post("/api/tasks/never-sold/cancel")).status_code == 404
        assert (await book(http))["refunded"] == 2


async def test_a_task_can_be_looked_at() -> None:
    async with backend() as http:
        task = (await sell(http, params={"a": 1}))["task_id"]
        await call(http, task)
        seen = (await http.get(f"/api/tasks/{task}")).json()
        assert (seen["status"], seen["user_id"], seen["steps"][0]["params"]) == ("failed", "u1", {"a": 1})
        assert (await http.get("/api/tasks/never-sold")).status_code == 404
        assert (await http.post("/api/tasks/never-sold/steps", json={"kind": "x"})).status_code == 404


async def test_a_lost_verdict_is_answered_200_and_not_booked() -> None:
    async with backend() as http:
        task = (await sell(http))["task_id"]
        await http.post("/_sandbox/faults", json={"status": 200, "task_id": task})
        assert (await call(http, task)).status_code == 200
        assert (await book(http))["tasks"][0]["status"] == "pending"
        assert (await call(http, task)).status_code == 200
        assert (await book(http))["tasks"][0]["status"] == "failed"


async def test_faults_are_counted_chosen_by_task_and_cleared() -> None:
    async with backend() as http:
        one, other = (await sell(http))["task_id"], (await sell(http))["task_id"]
        await http.post("/_sandbox/faults", json={"status": 503, "times": 2, "task_id": one})
        assert (await call(http, other)).status_code == 200
        assert [(await call(http, one)).status_code for _ in range(3)] == [503, 503, 200]
        await http.post("/_sandbox/faults", json={"status": 503})
        await http.delete("/_sandbox/faults")
        assert (await call(http, other)).status_code == 200
        assert (await http.post("/_sandbox/faults", json={"sttus": 503})).status_code == 422


async def test_the_book_outlives_a_restart(tmp_path: Path) -> None:
    async with backend(tmp_path / "new") as http:
        first, second = (await sell(http))["task_id"], (await sell(http))["task_id"]
        await call(http, first)
        before = await book(http)
    async with backend(tmp_path / "new") as http:
        assert await book(http) == before
        assert (await call(http, first)).status_code == 200
        assert (await call(http, second)).status_code == 200
        found = await book(http)
    assert (found["charged"], found["refunded"]) == (2, 2)
    assert len(found["tasks"][0]["callbacks"]) == 2


def test_a_weak_ticket_secret_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        create_app(secret=SECRET, ticket_secret="short", clock=lambda: NOW)


def test_reopening_two_steps_of_one_task_is_charged_once_as_it_was_refunded_once() -> None:
    page = QuotaAccount(":memory:")
    page.sell("u1", "t1", 0, "basic_clean", "{}", NOW)
    page.add_step("t1", "poster", "{}", NOW)
    for step in (0, 1):
        page.record_callback(
            ReceivedCallback(
                path="/x",
                received=NOW,
                signature_ok=True,
                v2="ok",
                task="t1",
                step=step,
                status="failed",
                error="生成超时",
            )
        )
    assert page.totals() == {"charged": 1, "refunded": 1}
    assert [page.reopen("t1", step, 1, NOW) for step in (0, 1)] == [(200, "pending")] * 2
    assert page.totals() == {"charged": 2, "refunded": 1}
    page.close()


def _callback(run: int, status: str) -> ReceivedCallback:
    return ReceivedCallback(
        path="/x",
        received=NOW,
        signature_ok=True,
        v2="ok",
        task="t1",
        run=run,
        status=status,
        outputs=("cos://output/u1/t1/frame_01.jpg",) if status == "success" else (),
        error="" if status == "success" else "生成超时",
    )


def test_a_reopened_step_takes_the_callbacks_of_its_run_alone() -> None:
    page = QuotaAccount(":memory:")
    page.sell("u1", "t1", 0, "basic_clean", "{}", NOW)
    assert page.record_callback(_callback(1, "failed")) == (409, "pending")
    assert page.record_callback(_callback(0, "failed")) == (200, "failed")
    assert page.reopen("t1", 0, 1, NOW) == (200, "pending")
    # A late repeat of the older run.
    assert page.record_callback(_callback(0, "failed")) == (409, "pending")
    assert page.totals() == {"charged": 2, "refunded": 1}
    assert page.record_callback(_callback(1, "success")) == (200, "success")
    # The same request has the same answer, and charges once.
    assert page.reopen("t1", 0, 1, NOW) == (200, "success")
    assert page.reopen("t1", 0, 2, NOW) == (409, "success")
    assert page.totals() == {"charged": 2, "refunded": 1}
    page.close()


def test_a_no_to_a_run_is_final() -> None:
    """A late repeat of the question must not charge for a run that nobody works on."""
    page = QuotaAccount(":memory:")
    page.sell("u1", "t1", 0, "basic_clean", "{}", NOW)
    assert page.reopen("t1", 0, 1, NOW) == (409, "pending")
    page.record_callback(_callback(0, "failed"))
    assert page.reopen("t1", 0, 1, NOW) == (409, "failed")
    assert page.totals() == {"charged": 1, "refunded": 1}
    assert page.reopen("t1", 0, 2, NOW) == (200, "pending")
    assert page.totals() == {"charged": 2, "refunded": 1}
    page.close()


def test_a_file_of_an_older_build_gets_the_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "backend.sqlite3")
    account = QuotaAccount(path)
    account.sell("u1", "t1", 0, "basic_clean", "{}", NOW)
    for table in ("steps", "callbacks"):
        account._db.execute(f"ALTER TABLE {table} DROP COLUMN run")
    account.close()
    account = QuotaAccount(path)
    assert account.record_callback(_callback(0, "failed")) == (200, "failed")
    assert account.steps()[0]["run"] == 0
    account.close()


STATES = ("pending", "success", "failed", "cancelled")


@pytest.mark.parametrize(("reported", "answers"), [("success", (200, 200, 409, 409)), ("failed", (200, 409, 200, 200))])
def test_the_first_verdict_stands(reported: str, answers: tuple[int, ...]) -> None:
    assert tuple(answer_to(state, reported) for state in STATES) == answers


MOVES = st.lists(st.sampled_from(["success", "failed", "reopen", "cancel"]), max_size=12)


@given(MOVES)
def test_whatever_happens_refunds_follow_the_state(moves: list[str]) -> None:
    page = QuotaAccount(":memory:")
    try:
        page.sell("u1", "t1", 0, "basic_clean", "{}", NOW)
        run = 0
        for move in moves:
            if move == "reopen":
                run += page.reopen("t1", 0, run + 1, NOW)[0] == 200
            elif move == "cancel":
                page.cancel("t1")
            else:
                outputs = ("cos://output/u1/t1/frame_01.jpg",) if move == "success" else ()
                page.record_callback(
                    ReceivedCallback(
                        path="/x",
                        received=NOW,
                        signature_ok=True,
                        v2="ok",
                        task="t1",
                        run=run,
                        status=move,
                        outputs=outputs,
                        error="" if outputs else "生成超时",
                    )
                )
            (row,) = page.steps()
            # Paid for exactly while it may yet succeed, or has.
            assert row["charges"] - row["refunds"] == (row["status"] in {"pending", "success"})
    finally:
        page.close()
