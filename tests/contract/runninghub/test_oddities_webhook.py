"""The odd webhooks of docs/reference/vendors.md that the stand-in plays: one test each, over both generations.

In-process and in real seconds, few of them.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.runninghub import Fault, KeyLimits, create_app
from sandbox.server import Server
from services.errors import VendorDown
from services.vendors.port import JobState
from services.vendors.runninghub.client import RunningHub
from tests.contract.runninghub.calls import Caller, calling, opened, start
from tests.support.patience import PATIENCE_S

HOOK = "https://backend.example/hook/9c2b7c0e5f1d"


class Receiver:
    """A receiver of webhooks whose answers a test sets."""

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
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(lambda: len(self.heard) >= count)

    @property
    def jobs(self) -> list[str]:
        return [event["taskId"] for _, event in self.heard]

    def data(self, n: int) -> dict[str, Any]:
        return dict(msgspec.json.decode(self.heard[n][1]["eventData"]))


class Stage:
    """The app on this loop, the product's client, and the receiver of webhooks."""

    def __init__(self, app: Starlette, client: RunningHub, caller: Caller, photo: bytes) -> None:
        self.client = client
        self.receiver = Receiver()
        self._core = app.state.core
        self._caller = caller
        self._photo = photo
        app.state.webhooks.send = self.receiver.take

    async def start(self, fault: str = "", *, hook: str = HOOK) -> str:
        if fault:
            self._core.arm(Fault(on="webhook", kind=fault))
        return await start(self.client, self._photo, webhook=hook)

    def arm(self, **fault: Any) -> None:
        self._core.arm(Fault(**fault))

    async def detail(self, job: str) -> dict[str, Any]:
        return await self._caller.v1("/task/openapi/getWebhookDetail", taskId=job)


@pytest.fixture
def stage(client_for: Any, key: str, photo: bytes, tmp_path: Path) -> Any:
    @asynccontextmanager
    async def play() -> AsyncIterator[Stage]:
        limits = {key: KeyLimits()}
        app = create_app(
            api_keys=limits, data_dir=tmp_path, duration_s=4.0, time_scale=0.01, public_url=lambda: "http://files"
        )
        transport = httpx.ASGITransport(app=app)
        async with (
            app.state.webhooks,
            opened(client_for("http://standin", transport=lambda: transport)) as client,
            httpx.AsyncClient(transport=transport, base_url="http://standin", trust_env=False) as http,
        ):
            yield Stage(app, client, Caller(http, key), photo)

    return play


async def test_webhook_tells_what_outputs_tells(stage: Any) -> None:
    async with stage() as play:
        job = await play.start()
        await play.receiver.wait_for(1)
    ((url, event),) = play.receiver.heard
    content = play.receiver.data(0)
    assert (url, event["event"], event["taskId"]) == (HOOK, "TASK_END", job)
    assert len(content["data"]) == 13
    assert content["data"][1]["fileUrl"].startswith("http://files/")
    assert isinstance(content["data"][1]["taskCostTime"], int)


async def test_webhook_of_a_cancelled_job_tells_805(stage: Any) -> None:
    async with stage() as play:
        play.arm(on="job", kind="late")
        job = await play.start()
        await play.client.cancel(job)
        await play.receiver.wait_for(1)
    assert play.receiver.jobs == [job]
    assert play.receiver.data(0)["code"] == 805


async def test_the_vendor_shows_what_a_job_was_made_for_once_its_webhook_was_sent(stage: Any) -> None:
    async with stage() as play:
        job, bare = await play.start("late"), await play.start(hook="")
        with pytest.raises(VendorDown):
            await play.client.made_for(job)
        await play.receiver.wait_for(1)
        assert await play.client.made_for(job) == HOOK
        with pytest.raises(VendorDown):
            await play.client.made_for(bare)
        with pytest.raises(VendorDown):
            await play.client.made_for("1999999999999999999")


async def test_webhook_late_comes_after_those_of_later_jobs(stage: Any) -> None:
    async with stage() as play:
        late, punctual = await play.start("late"), await play.start()
        await play.receiver.wait_for(2)
    assert play.receiver.jobs == [punctual, late]


async def test_webhook_twice(stage: Any) -> None:
    async with stage() as play:
        job = await play.start("twice")
        await play.receiver.wait_for(2)
    assert play.receiver.jobs == [job, job]


async def test_webhook_never(stage: Any) -> None:
    async with stage() as play:
        silent, later = await play.start("never"), await play.start()
        await play.receiver.wait_for(1)
        assert (await play.client.query(silent)).state is JobState.SUCCESS
        assert (await play.detail(silent))["code"] == 1
    assert play.receiver.jobs == [later]


async def test_webhook_before_the_create_response(stage: Any) -> None:
    async with stage() as play:
        job = await play.start("early")
        assert play.receiver.jobs == [job]
        assert (await play.client.query(job)).state is JobState.SUCCESS


async def test_webhook_forged_with_a_wrong_url_and_with_an_unknown_job(stage: Any) -> None:
    async with stage() as play:
        job = await play.start("forged", hook=f"{HOOK}2")
        await play.receiver.wait_for(3)
        (wrong_url, wrong_url_job), (url, unknown), (_, true) = [(u, e["taskId"]) for u, e in play.receiver.heard]
        assert (wrong_url, wrong_url_job) == (f"{HOOK}0", job)
        assert url == f"{HOOK}2"
        assert true == job
        # It is harmless: asked with our key, the vendor answers that there is no such job.
        assert not (await play.client.query(unknown)).known


async def test_webhook_whose_receiver_fails_is_repeated(stage: Any) -> None:
    async with stage() as play:
        play.receiver.status = 500
        job = await play.start()
        await play.receiver.wait_for(2)
        play.receiver.status = 200
        await play.receiver.wait_for(3)
        detail = await play.detail(job)
    assert detail["data"]["retryCount"] >= 1
    assert set(play.receiver.jobs) == {job}


async def test_get_webhook_detail(stage: Any) -> None:
    async with stage() as play:
        job = await play.start()
        before = await play.detail(job)
        await play.receiver.wait_for(1)
        detail = await play.detail(job)
    assert (before["code"], before["msg"]) == (1, "webhook event not exists")
    names = "id webhookUrl eventData callbackStatus callbackResponse retryCount createTime updateTime"
    assert set(detail["data"]) == set(names.split())
    assert detail["data"]["webhookUrl"] == HOOK
    assert detail["data"]["callbackStatus"] == "SUCCESS"
    assert detail["data"]["retryCount"] == 0


@pytest.fixture
def hook() -> Iterator[tuple[str, queue.SimpleQueue[bytes]]]:
    """URL of a receiver on the network, and the requests that it received."""
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    async def take(request: Request) -> Response:
        heard.put(await request.body())
        return Response()

    with Server(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as server:
        yield f"{server.url}/hook", heard


async def test_webhook_over_the_network(
    standin: Any, photo: bytes, key: str, hook: tuple[str, queue.SimpleQueue[bytes]]
) -> None:
    url, heard = hook
    async with calling(standin.url, key) as caller:
        name = await caller.upload(photo)
        standin.arm("webhook", "early")
        await caller.create(name, webhookUrl=url)
        assert msgspec.json.decode(heard.get_nowait())["event"] == "TASK_END"
        assert (await caller.create(name, webhookUrl="file:///etc/passwd"))["errorCode"] == "301"
