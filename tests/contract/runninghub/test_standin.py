"""The stand-in itself: v1 beside v2, its slots, files, faults and webhooks."""

from __future__ import annotations

import asyncio
import hashlib
import io
import queue
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.runninghub import DEMO_WORKFLOW_ID, Fault, KeyLimits, create_app
from sandbox.runninghub.forms import boundary_of, parse_form
from sandbox.server import Server


class Caller:
    """A plain HTTP client that speaks both versions."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self.http = http
        self.key = key

    async def v1(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.http.post(path, json={"apiKey": self.key, **body})
        return dict(answer.json())

    async def v2(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.http.post(f"/openapi/v2{path}", json=body, headers=self.bearer)
        return dict(answer.json())

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def upload(self, photo: bytes) -> str:
        files = {"file": ("photo.jpg", photo, "image/jpeg")}
        answer = await self.http.post("/openapi/v2/media/upload/binary", files=files, headers=self.bearer)
        return str(answer.json()["data"]["fileName"])

    async def create(self, photo: str, **more: Any) -> dict[str, Any]:
        nodes = [{"nodeId": "10", "fieldName": "image", "fieldValue": photo}]
        return await self.v2(f"/run/workflow/{DEMO_WORKFLOW_ID}", nodeInfoList=nodes, **more)

    async def stats(self) -> dict[str, Any]:
        return dict((await self.http.get("/_sandbox/stats")).json())


@asynccontextmanager
async def calling(url: str, key: str) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=10.0) as http:  # noqa: S501 - http
        yield Caller(http, key)


async def test_v1_from_upload_to_outputs(standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        form = {"apiKey": key, "fileType": "input"}
        answer = await caller.http.post(
            "/task/openapi/upload", data=form, files={"file": ("a.jpg", photo, "image/jpeg")}
        )
        name = answer.json()["data"]["fileName"]
        assert name.startswith("api/")
        nodes = [{"nodeId": "10", "fieldName": "image", "fieldValue": name}]
        more = {"addMetadata": True, "instanceType": "plus", "usePersonalQueue": "true", "retainSeconds": 60}
        created = await caller.v1("/task/openapi/create", workflowId=DEMO_WORKFLOW_ID, nodeInfoList=nodes, **more)
        task = {"taskId": created["data"]["taskId"]}
        assert created["code"] == 0
        assert created["data"]["taskStatus"] == "QUEUED"
        assert msgspec.json.decode(created["data"]["promptTips"])["node_errors"] == {}
        assert (await caller.v1("/task/openapi/outputs", **task))["code"] == 813
        standin.clock.now += 1.2
        running = await caller.v1("/task/openapi/outputs", **task)
        assert (running["code"], set(running["data"])) == (804, {"netWssUrl"})
        standin.finish_jobs()
        assert (await caller.v1("/task/openapi/status", **task))["data"] == "SUCCESS"
        done = await caller.v1("/task/openapi/outputs", **task)
    assert [entry["nodeId"] for entry in done["data"]] == ["21"] + ["9"] * 12
    assert isinstance(done["data"][1]["taskCostTime"], str)


async def test_v1_cancel_then_outputs(standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        task = {"taskId": (await caller.create(await caller.upload(photo)))["taskId"]}
        assert await caller.v1("/task/openapi/cancel", **task) == {"code": 0, "msg": "success", "data": None}
        outputs = await caller.v1("/task/openapi/outputs", **task)
        assert outputs["code"] == 805
        assert outputs["data"]["failedReason"]["exception_type"]
        assert (await caller.v1("/task/openapi/cancel", taskId="1"))["code"] == 807


async def test_v1_takes_the_key_in_the_header_too_and_refuses_a_wrong_one(standin: Any, key: str) -> None:
    async with calling(standin.url, key) as caller:
        path = "/uc/openapi/accountStatus"
        assert (await caller.http.post(path, json={"apikey": "nobody"})).json()["code"] == 802
        in_header = (await caller.http.post(path, json={}, headers=caller.bearer)).json()
        in_body = (await caller.http.post(path, json={"apikey": key})).json()
    assert in_header == in_body
    assert in_body["data"]["currentTaskCounts"] == "0"


async def test_v2_refuses_a_wrong_key_as_the_gateway_does(standin: Any, photo: bytes) -> None:
    async with calling(standin.url, "nobody") as caller:
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/query", {"json": {"taskId": "1"}}),
            ("POST", f"/run/workflow/{DEMO_WORKFLOW_ID}", {"json": {}}),
            ("POST", "/media/upload/binary", {"files": {"file": ("a.jpg", photo, "image/jpeg")}}),
            ("GET", "/queue/status", {}),
        ]
        for method, path, body in calls:
            answer = await caller.http.request(method, f"/openapi/v2{path}", headers=caller.bearer, **body)
            assert answer.status_code == 401
            assert answer.json() == {"code": -1, "msg": "ApiKey verification failed"}


async def test_unknown_paths_are_404(standin: Any, key: str) -> None:
    async with calling(standin.url, key) as caller:
        assert (await caller.http.post("/openapi/v2/run/app/1", json={})).status_code == 404


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([{"nodeId": "115", "fieldName": "image", "fieldValue": "x"}], "nodeId=115"),
        ([{"nodeId": "10", "fieldName": "picture", "fieldValue": "x"}], "fieldName=picture"),
        ([{"nodeId": "10", "fieldName": "image", "fieldValue": "openapi/no-such.png"}], "file_not_found"),
        ("not a list", "NODE_INFO_ERROR"),
    ],
)
async def test_node_info_is_checked(nodes: Any, reason: str, standin: Any, key: str) -> None:
    async with calling(standin.url, key) as caller:
        v2 = await caller.v2(f"/run/workflow/{DEMO_WORKFLOW_ID}", nodeInfoList=nodes)
        v1 = await caller.v1("/task/openapi/create", workflowId=DEMO_WORKFLOW_ID, nodeInfoList=nodes)
        unknown = await caller.v2("/run/workflow/77", nodeInfoList=[])
    assert v2["errorCode"] == "803"
    assert v1["code"] == 803
    assert reason in v2["errorMessage"]
    assert unknown["errorCode"] == "380"
    assert standin.core.stats()["creates"] == 0


async def test_files_of_another_key_are_not_known(standin: Any, photo: bytes, key: str, other_key: str) -> None:
    async with calling(standin.url, key) as one, calling(standin.url, other_key) as other:
        name = await one.upload(photo)
        assert (await other.create(name))["errorCode"] == "803"


async def test_a_file_over_the_limit(standin: Any, key: str) -> None:
    big = bytes(30 * 1024 * 1024 + 1)
    async with calling(standin.url, key) as caller:
        for path, headers in (("/openapi/v2/media/upload/binary", caller.bearer), ("/task/openapi/upload", {})):
            answer = await caller.http.post(
                path, data={"apiKey": key}, files={"file": ("a.zip", big, "application/zip")}, headers=headers
            )
            assert answer.json()["code"] == 809
        answer = await caller.http.post("/openapi/v2/media/upload/binary", content=b"x", headers=caller.bearer)
        assert answer.json()["code"] == 808


async def pictures_of(caller: Caller, standin: Any, photo: bytes) -> list[bytes]:
    task = (await caller.create(await caller.upload(photo)))["taskId"]
    standin.finish_jobs()
    results = (await caller.v2("/query", taskId=task))["results"]
    return [(await caller.http.get(entry["url"])).content for entry in results if entry["nodeId"] == "9"]


async def test_twelve_different_real_pictures_the_same_every_time(
    standin: Any, restarted: Any, photo: bytes, key: str
) -> None:
    async with calling(standin.url, key) as caller, calling(restarted.url, key) as again:
        pictures = await pictures_of(caller, standin, photo)
        assert await pictures_of(again, standin, photo) == pictures
    assert len({hashlib.sha256(picture).digest() for picture in pictures}) == 12
    assert {max(Image.open(io.BytesIO(picture)).size) for picture in pictures} == {512}


async def test_a_url_is_good_until_it_expires(standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        task = (await caller.create(await caller.upload(photo)))["taskId"]
        standin.finish_jobs()
        standin.arm("query", "expired_urls")
        expired = (await caller.v2("/query", taskId=task))["results"][1]["url"]
        fresh = (await caller.v2("/query", taskId=task))["results"][1]["url"]
        assert (await caller.http.get(expired)).status_code == 403
        assert (await caller.http.get(fresh)).headers["content-type"] == "image/png"
        assert (await caller.http.get(fresh.replace("sign=", "sign=0"))).status_code == 403
        assert (await caller.http.get(fresh.replace("/files/", "/files/0"))).status_code == 404
        standin.clock.now += 86_401
        assert (await caller.http.get(fresh)).status_code == 403


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"kind": "missing"}, 404),
        ({"kind": "expired"}, 403),
        ({"kind": "error", "status": 503}, 503),
        ({"kind": "html"}, 200),
    ],
    ids=str,
)
async def test_files_that_go_wrong(fault: dict[str, Any], outcome: int, standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        task = (await caller.create(await caller.upload(photo)))["taskId"]
        standin.finish_jobs()
        url = (await caller.v2("/query", taskId=task))["results"][1]["url"]
        standin.arm("file", **fault)
        answer = await caller.http.get(url)
        assert answer.status_code == outcome
        assert answer.headers.get("content-type") != "image/png"
        assert (await caller.http.get(url)).headers["content-type"] == "image/png"


async def test_faults_are_armed_and_taken_back_over_http(standin: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller:
        name = await caller.upload(photo)
        fault = {"on": "create", "code": "421", "times": 2}
        assert (await caller.http.post("/_sandbox/faults", json=fault)).status_code == 204
        assert (await caller.create(name))["errorCode"] == "421"
        await caller.http.delete("/_sandbox/faults")
        assert (await caller.create(name))["errorCode"] == ""
        for bad in ({"on": "create"}, {"on": "nowhere"}, {"on": "file", "kind": "tips"}, {"on": "job", "bits": 1}):
            assert (await caller.http.post("/_sandbox/faults", json=bad)).status_code == 422
        stats = await caller.stats()
    assert stats["creates"] == len(stats["jobs"]) == 1
    assert stats["uploads"] == 1


async def test_ids_are_not_used_again_after_a_restart(standin: Any, restarted: Any, photo: bytes, key: str) -> None:
    async with calling(standin.url, key) as caller, calling(restarted.url, key) as again:
        first = (await caller.create(await caller.upload(photo)))["taskId"]
        standin.clock.now += 0.01
        assert (await again.create(await again.upload(photo)))["taskId"] != first


# webhooks: real seconds, few of them


class Receiver:
    """A receiver of webhooks whose answers can be told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.news = asyncio.Condition()
        self.status = 200

    async def take(self, url: str, body: bytes) -> tuple[int, str]:
        async with self.news:
            self.heard.append((url, msgspec.json.decode(body)))
            self.news.notify_all()
        return self.status, "heard"

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: len(self.heard) >= count)


HOOK = "https://backend.example/hook/9c2b7c0e5f1d"


@asynccontextmanager
async def in_process(key: str, folder: Path) -> AsyncIterator[tuple[Caller, Starlette, Receiver]]:
    """The app on this loop, its webhooks told to a receiver."""
    app = create_app(
        api_keys={key: KeyLimits()}, data_dir=folder, duration_s=4.0, time_scale=0.01, public_url=lambda: "http://files"
    )
    receiver = Receiver()
    app.state.webhooks.send = receiver.take
    transport = httpx.ASGITransport(app=app)
    async with (
        app.state.webhooks,
        httpx.AsyncClient(transport=transport, base_url="http://standin", trust_env=False) as http,
    ):
        yield Caller(http, key), app, receiver


def event_of(heard: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return dict(msgspec.json.decode(heard[1]["eventData"]))


async def test_a_webhook_tells_what_outputs_tells(key: str, photo: bytes, tmp_path: Path) -> None:
    async with in_process(key, tmp_path) as (caller, _, receiver):
        task = (await caller.create(await caller.upload(photo), webhookUrl=HOOK))["taskId"]
        assert (await caller.v1("/task/openapi/getWebhookDetail", taskId=task))["code"] == 1
        await receiver.wait_for(1)
        ((url, event),) = receiver.heard
        content = event_of(receiver.heard[0])
        detail = await caller.v1("/task/openapi/getWebhookDetail", taskId=task)
    assert (url, event["event"], event["taskId"]) == (HOOK, "TASK_END", task)
    assert len(content["data"]) == 13
    assert content["data"][1]["fileUrl"].startswith("http://files/")
    assert isinstance(content["data"][1]["taskCostTime"], int)
    assert detail["data"]["callbackStatus"] == "SUCCESS"
    assert detail["data"]["retryCount"] == 0


async def test_a_receiver_that_fails_is_told_again(key: str, photo: bytes, tmp_path: Path) -> None:
    async with in_process(key, tmp_path) as (caller, _, receiver):
        receiver.status = 500
        task = (await caller.create(await caller.upload(photo), webhookUrl=HOOK))["taskId"]
        await receiver.wait_for(2)
        receiver.status = 200
        await receiver.wait_for(3)
        detail = await caller.v1("/task/openapi/getWebhookDetail", taskId=task)
    assert detail["data"]["retryCount"] >= 1
    assert len({event["taskId"] for _, event in receiver.heard}) == 1


async def test_twice_and_forged(key: str, photo: bytes, tmp_path: Path) -> None:
    async with in_process(key, tmp_path) as (caller, app, receiver):
        name = await caller.upload(photo)
        for kind in ("twice", "forged"):
            app.state.core.arm(Fault(on="webhook", kind=kind))
        twice = (await caller.create(name, webhookUrl=HOOK))["taskId"]
        forged = (await caller.create(name, webhookUrl=f"{HOOK}2"))["taskId"]
        await receiver.wait_for(5)
    told = [event["taskId"] for url, event in receiver.heard if url == HOOK]
    assert told == [twice, twice]
    others = [(url, event["taskId"]) for url, event in receiver.heard if url != HOOK]
    assert others[0] == (f"{HOOK}0", forged)
    assert others[1][0] == f"{HOOK}2"
    assert others[1][1] not in {twice, forged}
    assert others[2] == (f"{HOOK}2", forged)


async def test_a_late_one_comes_after_those_of_later_jobs(key: str, photo: bytes, tmp_path: Path) -> None:
    async with in_process(key, tmp_path) as (caller, app, receiver):
        name = await caller.upload(photo)
        app.state.core.arm(Fault(on="webhook", kind="late"))
        late, punctual = [(await caller.create(name, webhookUrl=HOOK))["taskId"] for _ in range(2)]
        await receiver.wait_for(2)
    assert [event["taskId"] for _, event in receiver.heard] == [punctual, late]


async def test_before_the_create_is_answered(key: str, photo: bytes, tmp_path: Path) -> None:
    async with in_process(key, tmp_path) as (caller, app, receiver):
        app.state.core.arm(Fault(on="webhook", kind="early"))
        created = await caller.create(await caller.upload(photo), webhookUrl=HOOK)
        assert [event["taskId"] for _, event in receiver.heard] == [created["taskId"]]
        assert (await caller.v2("/query", taskId=created["taskId"]))["status"] == "SUCCESS"


async def test_a_webhook_that_never_comes_and_one_of_a_cancelled_job(key: str, photo: bytes, tmp_path: Path) -> None:
    async with in_process(key, tmp_path) as (caller, app, receiver):
        name = await caller.upload(photo)
        app.state.core.arm(Fault(on="webhook", kind="never"))
        await caller.create(name, webhookUrl=HOOK)
        app.state.core.arm(Fault(on="job", kind="late"))
        cancelled = (await caller.create(name, webhookUrl=HOOK))["taskId"]
        await caller.v1("/task/openapi/cancel", taskId=cancelled)
        await receiver.wait_for(1)
    assert [event["taskId"] for _, event in receiver.heard] == [cancelled]
    assert event_of(receiver.heard[0])["code"] == 805


@pytest.fixture
def hook() -> Iterator[tuple[str, queue.SimpleQueue[bytes]]]:
    """URL of a receiver on the network, and what it hears."""
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    async def take(request: Request) -> Response:
        heard.put(await request.body())
        return Response()

    with Server(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as server:
        yield f"{server.url}/hook", heard


async def test_a_webhook_over_the_network(
    standin: Any, photo: bytes, key: str, hook: tuple[str, queue.SimpleQueue[bytes]]
) -> None:
    url, heard = hook
    async with calling(standin.url, key) as caller:
        name = await caller.upload(photo)
        standin.arm("webhook", "early")
        await caller.create(name, webhookUrl=url)
        assert msgspec.json.decode(heard.get_nowait())["event"] == "TASK_END"
        assert (await caller.create(name, webhookUrl="file:///etc/passwd"))["errorCode"] == "301"


@pytest.mark.parametrize(
    "body", [b"", b"--b\r\n\r\n--b--", b"--b\r\nX: y\r\n\r\nz\r\n--b", b"x\r\n--b--", b"--other\r\n\r\n--other--"]
)
def test_what_is_no_form(body: bytes) -> None:
    assert not parse_form(body, "b")


def test_forms_as_clients_write_them() -> None:
    content = b"\r\n--almost\r\n\x00\xff"
    request = httpx.Request("POST", "http://x", data={"apiKey": "k"}, files={"file": ("衣 服.png", content)})
    parts = parse_form(request.read(), boundary_of(request.headers["content-type"]))
    assert parts is not None
    assert [(part.name, part.body) for part in parts] == [("apiKey", b"k"), ("file", content)]
    assert parts[1].filename.endswith(".png")
