"""The backend client against the stand-in, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx
import msgspec
import pytest

from messages.errors import RetryClass
from sandbox.backend import create_app
from sandbox.server import Server
from services.backend import Backend, Callback, Form
from services.errors import BackendDown, BadQuestion
from services.unfinished import UnfinishedTask
from telemetry.secrets import Secret

SECRET = "callback-secret-0123"
TICKET_SECRET = "ticket-secret-of-enough-bytes-0123456"
NOW = 1_700_000_000.0

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Without certificates: none are needed here, and they take longer to load than a test takes."""

FORMS: tuple[Form, ...] = ("steps", "task_update")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class StandIn:
    """Controls of the stand-in for a test."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self.clock = clock

    async def call(self, method: str, path: str, json: Any = None) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, verify=NO_TLS) as http:
            return await http.request(method, path, json=json)

    async def sell(self, kind: str = "basic_clean") -> str:
        answer = await self.call("POST", "/api/tasks", {"user_id": "u1", "kind": kind})
        assert answer.status_code == 201
        return str(answer.json()["task_id"])

    async def fault(self, **fault: Any) -> None:
        assert (await self.call("POST", "/_sandbox/faults", fault)).status_code == 204

    async def book(self) -> dict[str, Any]:
        return dict((await self.call("GET", "/_sandbox/quota")).json())

    async def row(self, task: str, step: int = 0) -> dict[str, Any]:
        (row,) = [row for row in (await self.book())["tasks"] if (row["task_id"], row["step"]) == (task, step)]
        return dict(row)

    async def statuses(self, task: str) -> list[int]:
        return [call["http_status"] for call in (await self.row(task))["callbacks"]]


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One for all tests here: each sells tasks of its own and looks at those only."""
    clock = Clock()
    data_dir = tmp_path_factory.mktemp("backend")
    app = create_app(secret=SECRET, ticket_secret=TICKET_SECRET, clock=clock, data_dir=data_dir)
    with Server(app) as server:
        yield StandIn(server.url, clock)


@asynccontextmanager
async def client(standin: StandIn, form: Form = "steps", **more: Any) -> AsyncGenerator[Backend]:
    given: dict[str, Any] = {"base_url": standin.url + "/", "secret": Secret(SECRET), "clock": standin.clock}
    backend = Backend(form=form, **(given | more))
    try:
        yield backend
    finally:
        await backend.close()


def success(task: str, names: tuple[str, ...] = ("frame_01.jpg", "frame_02.jpg"), step: int = 0) -> Callback:
    keys = tuple(f"output/u1/{task}/{name}" for name in names)
    return Callback(task=task, step=step, status="success", outputs=keys, vendor_task_id="v-1")


def failure(task: str, step: int = 0) -> Callback:
    return Callback(task=task, step=step, status="failed", message="生成超时", code="timeout", vendor_task_id="v-1")


@pytest.mark.parametrize("form", FORMS)
async def test_a_success_is_delivered_and_keeps_the_charge(standin: StandIn, form: Form) -> None:
    task = await standin.sell()

    async with client(standin, form) as backend:
        answer = await backend.deliver(success(task))
        assert (answer.delivered, answer.conflict, answer.http_status) == (True, False, 200)

    row = await standin.row(task)
    assert (row["status"], row["charges"], row["refunds"]) == ("success", 1, 0)
    assert row["outputs"] == [f"cos://output/u1/{task}/frame_01.jpg", f"cos://output/u1/{task}/frame_02.jpg"]
    (call,) = row["callbacks"]
    assert (call["signature_ok"], call["v2"]) == (True, "ok")
    path = f"/api/internal/tasks/{task}/steps/0/callback" if form == "steps" else "/internal/task/update"
    assert call["path"] == path


@pytest.mark.parametrize("form", FORMS)
async def test_a_failure_refunds_once_however_often_it_is_said(standin: StandIn, form: Form) -> None:
    task = await standin.sell()

    async with client(standin, form) as backend:
        for _ in range(3):
            assert (await backend.deliver(failure(task))).delivered

    row = await standin.row(task)
    assert (row["status"], row["error"], row["charges"], row["refunds"]) == ("failed", "生成超时", 1, 1)
    assert row["error_code"] == ("timeout" if form == "steps" else "")
    assert row["vendor_task_id"] == ("" if form == "steps" else "v-1")
    assert (await standin.statuses(task)) == [200, 200, 200]


@pytest.mark.parametrize("form", FORMS)
async def test_the_contrary_of_what_stands_is_a_conflict_both_ways(standin: StandIn, form: Form) -> None:
    won, lost = (await standin.sell()), (await standin.sell())

    async with client(standin, form) as backend:
        await backend.deliver(success(won))
        await backend.deliver(failure(lost))
        for callback in (failure(won), success(lost)):
            answer = await backend.deliver(callback)
            assert (answer.delivered, answer.conflict, answer.http_status) == (False, True, 409)

    assert ((await standin.row(won))["status"], (await standin.row(won))["refunds"]) == ("success", 0)
    assert ((await standin.row(lost))["status"], (await standin.row(lost))["refunds"]) == ("failed", 1)


@pytest.mark.parametrize("form", FORMS)
async def test_steps_have_verdicts_of_their_own_and_one_refund_in_all(standin: StandIn, form: Form) -> None:
    task = await standin.sell()
    added = await standin.call("POST", f"/api/tasks/{task}/steps", {"kind": "poster"})
    assert added.json()["step"] == 1

    async with client(standin, form) as backend:
        assert (await backend.deliver(failure(task, 0))).delivered
        assert (await backend.deliver(failure(task, 1))).delivered
        assert (await backend.deliver(success(task, step=1))).conflict

    row = await standin.row(task, 1)
    assert (row["status"], row["refunds"]) == ("failed", 1)


async def test_a_video_is_named_as_the_backend_reads_it(standin: StandIn) -> None:
    task = await standin.sell("video_tryon")
    bodies: list[bytes] = []

    class Spy(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            bodies.append(await request.aread())
            return httpx.Response(200)

    async with client(standin, transport=Spy()) as backend:
        await backend.deliver(success(task, ("video_01.mp4",)))
        await backend.deliver(success(task))

    url = f"cos://output/u1/{task}/video_01.mp4"
    video, pictures = (httpx.Response(200, content=raw).json() for raw in bodies)
    assert video == {"status": "success", "output": {"resultUrls": [url], "count": 1, "video_url": url}}
    assert sorted(pictures["output"]) == ["count", "resultUrls"]


@pytest.mark.parametrize("form", FORMS)
async def test_another_secret_is_refused_and_noted(standin: StandIn, form: Form) -> None:
    task = await standin.sell()

    async with client(standin, form, secret=Secret("not-the-secret-0123")) as backend:
        with pytest.raises(BackendDown) as caught:
            await backend.deliver(failure(task))
        assert caught.value.refused
        assert caught.value.retry is RetryClass.OUTAGE
        with pytest.raises(BackendDown) as caught:
            await backend.unfinished(0)
        assert caught.value.refused
        with pytest.raises(BackendDown) as caught:
            await backend.reopen(task, 0, 1)
        assert caught.value.refused

    row = await standin.row(task)
    assert (row["status"], row["refunds"]) == ("pending", 0)
    assert [(call["signature_ok"], call["http_status"]) for call in row["callbacks"]] == [(False, 403)]


@pytest.mark.parametrize("skew", [-301, 301])
async def test_a_stale_time_is_refused_and_a_little_skew_is_not(standin: StandIn, skew: int) -> None:
    task = await standin.sell()

    async with client(standin, clock=lambda: standin.clock.now + skew) as backend:
        with pytest.raises(BackendDown) as caught:
            await backend.deliver(failure(task))
        assert caught.value.refused
    async with client(standin, clock=lambda: standin.clock.now + (299 if skew > 0 else -299)) as backend:
        assert (await backend.deliver(failure(task))).delivered

    assert (await standin.statuses(task)) == [403, 200]


async def test_it_is_signed_when_sent_not_when_begun(standin: StandIn) -> None:
    task = await standin.sell()

    async with client(standin) as backend:
        standin.clock.now += 3600
        assert (await backend.deliver(failure(task))).delivered


async def test_a_task_nobody_sold_is_tried_again(standin: StandIn) -> None:
    async with client(standin) as backend:
        with pytest.raises(BackendDown) as caught:
            await backend.deliver(failure("never-sold"))
        assert not caught.value.refused

    assert [(call["task_id"], call["http_status"]) for call in (await standin.book())["strays"]] == [
        ("never-sold", 404)
    ]


async def test_what_the_backend_cancelled_itself_agrees_with_failed_only(standin: StandIn) -> None:
    task = await standin.sell()
    assert (await standin.call("POST", f"/api/tasks/{task}/cancel")).status_code == 200

    async with client(standin) as backend:
        assert (await backend.deliver(failure(task))).delivered
        answer = await backend.deliver(success(task))
        assert answer.conflict

    assert ((await standin.row(task))["status"], (await standin.row(task))["refunds"]) == ("cancelled", 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [500, 502, 404, 400, 429, 302])
async def test_an_outage_is_told_and_the_repeat_is_delivered(standin: StandIn, form: Form, status: int) -> None:
    task = await standin.sell()
    await standin.fault(kind="answer", status=status, headers={"Retry-After": "7"})

    async with client(standin, form) as backend:
        with pytest.raises(BackendDown) as caught:
            await backend.deliver(failure(task))
        assert (caught.value.refused, caught.value.retry_after) == (False, 7.0)
        assert (await backend.deliver(failure(task))).delivered

    assert (await standin.statuses(task)) == [status, 200]
    assert (await standin.row(task))["refunds"] == 1


async def test_401_is_a_refusal(standin: StandIn) -> None:
    task = await standin.sell()
    await standin.fault(kind="answer", status=401)

    async with client(standin) as backend:
        with pytest.raises(BackendDown) as caught:
            await backend.deliver(failure(task))
        assert caught.value.refused


@pytest.mark.parametrize("form", FORMS)
async def test_cut_after_accepting_then_repeated_is_one_refund(standin: StandIn, form: Form) -> None:
    task = await standin.sell()
    await standin.fault(kind="cut")

    async with client(standin, form) as backend:
        with pytest.raises(BackendDown):
            await backend.deliver(failure(task))
        assert (await backend.deliver(failure(task))).delivered

    row = await standin.row(task)
    assert (row["status"], row["refunds"]) == ("failed", 1)
    assert [(call["http_status"], call["fault"]) for call in row["callbacks"]] == [(200, "cut"), (200, "")]


async def test_no_answer_in_time_is_an_outage_and_leaves_no_connection_behind(standin: StandIn) -> None:
    task = await standin.sell()
    await standin.fault(kind="hang")

    async with client(standin, timeout=2.0) as backend:
        with pytest.raises(BackendDown):
            await backend.deliver(failure(task))
    async with client(standin) as backend:
        assert (await backend.deliver(failure(task))).delivered

    assert (await standin.statuses(task)) == [504, 200]


async def test_a_backend_that_is_not_there_is_an_outage(standin: StandIn) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        async with client(standin, base_url=url) as backend:
            for call in (backend.deliver(failure("t")), backend.unfinished(0), backend.reopen("t", 0, 1)):
                with pytest.raises(BackendDown) as caught:
                    await call
                assert not caught.value.refused


async def test_errors_hold_neither_secret_nor_signature(standin: StandIn) -> None:
    task = await standin.sell()
    await standin.fault(kind="answer", status=500)

    async with client(standin) as backend:
        with pytest.raises(BackendDown) as caught:
            await backend.deliver(failure(task))
        assert str(caught.value) == f"POST /api/internal/tasks/{task}/steps/0/callback answered 500"


async def pages(backend: Backend, older_than: int) -> list[tuple[UnfinishedTask, ...]]:
    page = await backend.unfinished(older_than)
    found = [page.rows]
    while page.cursor:
        page = await backend.unfinished(older_than, page.cursor)
        found.append(page.rows)
    return found


async def test_unfinished_steps_are_paged_oldest_first(standin: StandIn) -> None:
    born = standin.clock.now
    tasks = [await standin.sell() for _ in range(53)]
    done = tasks.pop(10)
    standin.clock.now += 600
    young = await standin.sell()

    async with client(standin) as backend:
        await backend.deliver(success(done))
        found = await pages(backend, 600)
        assert len(found) > 1
        assert {len(page) for page in found[:-1]} == {50}
        mine = [row for page in found for row in page if row.task in {*tasks, done, young}]
        assert [row.task for row in mine] == tasks
        assert {(row.user, row.step, row.kind, row.created) for row in mine} == {("u1", 0, "basic_clean", born)}
        assert (await pages(backend, 0))[-1][-1].task == young


ROW: Final = {"task": "t-1", "user": "u-1", "step": 0, "kind": "basic_clean", "created": 1795345142.5}


def listing(body: bytes) -> httpx.MockTransport:
    """A backend that answers with this list, piece by piece as a network does."""

    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    return httpx.MockTransport(lambda _: httpx.Response(200, content=pieces()))


@pytest.mark.parametrize(
    "odd",
    [
        *({**ROW, "user": None}, {**ROW, "task": 7}, {**ROW, "step": "0"}, {**ROW, "created": "2026-11-25"}),
        *({"task": "t"}, {}, [], None, 3, "t"),
    ],
)
async def test_a_row_that_cannot_be_read_leaves_the_others(standin: StandIn, odd: object) -> None:
    rows = [{**ROW, "task": "t-1"}, odd, {**ROW, "task": "t-2"}]
    transport = listing(json.dumps({"rows": rows, "cursor": "next"}).encode())

    async with client(standin, transport=transport) as backend:
        page = await backend.unfinished(0)
        assert [row.task for row in page.rows] == ["t-1", "t-2"]
        assert (page.unreadable, page.cursor) == (1, "next")


async def test_bytes_that_are_no_text_spoil_their_row_only(standin: StandIn) -> None:
    good = json.dumps(ROW).encode()
    transport = listing(b'{"rows":[' + good.replace(b"u-1", b"\xff") + b"," + good + b"]}")

    async with client(standin, transport=transport) as backend:
        page = await backend.unfinished(0)
        assert ([row.user for row in page.rows], page.unreadable) == (["u-1"], 1)


async def test_a_row_without_a_kind_is_a_task_all_the_same(standin: StandIn) -> None:
    bare = {name: value for name, value in ROW.items() if name != "kind"}
    transport = listing(json.dumps({"rows": [{**ROW, "kind": None}, bare]}).encode())

    async with client(standin, transport=transport) as backend:
        page = await backend.unfinished(0)
        assert ([row.kind for row in page.rows], page.unreadable) == ([None, None], 0)


async def test_a_page_of_many_rows_is_read_whole(standin: StandIn) -> None:
    body = json.dumps({"rows": [ROW] * 100_000}).encode()
    assert 8 << 20 < len(body) < 16 << 20

    async with client(standin, transport=listing(body)) as backend:
        assert len((await backend.unfinished(0)).rows) == 100_000


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"rows": 7}', b'{"cursor": ""}', b"\xff", b"[" * 5000])
async def test_a_page_that_cannot_be_read_is_an_outage(standin: StandIn, answer: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=answer))

    async with client(standin, transport=transport) as backend:
        with pytest.raises(BackendDown):
            await backend.unfinished(0)


@pytest.mark.parametrize("call", ["unfinished", "reopen"])
@pytest.mark.parametrize("status", [401, 403, 500, 429])
async def test_questions_tell_outages_too(standin: StandIn, call: str, status: int) -> None:
    task = await standin.sell()
    await standin.fault(on=call, kind="answer", status=status, headers={"Retry-After": "3"})

    async with client(standin) as backend:
        with pytest.raises(BackendDown) as caught:
            await (backend.unfinished(0) if call == "unfinished" else backend.reopen(task, 0, 1))
        assert (caught.value.refused, caught.value.retry_after) == (status in {401, 403}, 3.0)


@pytest.mark.parametrize("status", [404, 408, 409, 425])
async def test_a_list_that_is_not_there_just_now_is_an_outage(standin: StandIn, status: int) -> None:
    await standin.fault(on="unfinished", kind="answer", status=status, times=3 if status in {408, 425} else 1)

    async with client(standin) as backend:
        with pytest.raises(BackendDown):
            await backend.unfinished(0)


@pytest.mark.parametrize("call", ["unfinished", "reopen"])
@pytest.mark.parametrize("status", [400, 405, 413, 422])
async def test_a_question_that_the_backend_calls_wrong_is_a_defect_and_no_outage(
    standin: StandIn, call: str, status: int
) -> None:
    task = await standin.sell()
    await standin.fault(on=call, kind="answer", status=status)

    async with client(standin) as backend:
        with pytest.raises(BadQuestion, match=f"answered {status}"):
            await (backend.unfinished(0) if call == "unfinished" else backend.reopen(task, 0, 1))


async def test_a_cursor_that_the_backend_did_not_give_is_named(standin: StandIn) -> None:
    async with client(standin) as backend:
        with pytest.raises(BadQuestion, match=r"answered 400.*cursor 'zzz'"):
            await backend.unfinished(0, "zzz")


async def test_reopening_sells_a_failed_step_once_more(standin: StandIn) -> None:
    task = await standin.sell()

    async with client(standin) as backend:
        await backend.deliver(failure(task))
        assert await backend.reopen(task, 0, 1) is True
        assert await backend.reopen(task, 0, 1) is True
        assert task in {row.task for page in await pages(backend, 0) for row in page}
        assert (await backend.deliver(failure(task))).conflict, "it is a late repeat of run 0"
        assert (await backend.deliver(msgspec.structs.replace(success(task), run=1))).delivered
        assert await backend.reopen(task, 0, 1) is True, "the same question has the same answer"
        assert await backend.reopen(task, 0, 2) is False
        assert await backend.reopen("never-sold", 0, 1) is False

    row = await standin.row(task)
    assert (row["status"], row["charges"], row["refunds"]) == ("success", 2, 1)


async def test_a_cut_reopening_is_asked_again_and_charged_once(standin: StandIn) -> None:
    task = await standin.sell()

    async with client(standin) as backend:
        await backend.deliver(failure(task))
        await standin.fault(on="reopen", kind="cut")
        assert await backend.reopen(task, 0, 1) is True

    assert (await standin.row(task))["charges"] == 2


async def test_many_at_once_share_few_connections(standin: StandIn) -> None:
    tasks = [await standin.sell() for _ in range(30)]

    async with client(standin) as backend:
        answers = await asyncio.gather(*(backend.deliver(failure(task)) for task in tasks for _ in range(2)))
        assert all(answer.delivered for answer in answers)

    rows = [row for row in (await standin.book())["tasks"] if row["task_id"] in tasks]
    assert [(row["refunds"], len(row["callbacks"])) for row in rows] == [(1, 2)] * 30
