"""The stand-in without a server: an app under an in-process client, on a loop that must never block."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.cos.app import CosApp, create_app
from sandbox.cos.faults import Fault, FaultKind
from sandbox.cos.http.signature import compute

BUCKET = "demo-1250000000"
HOST = f"{BUCKET}.cos.ap-guangzhou.myqcloud.com"


def signed(method: str, path: str, **headers: str) -> dict[str, str]:
    covered = {"host": HOST, **headers}
    window = f"{int(time.time()) - 60};{int(time.time()) + 600}"
    signature = compute("secret", window, method=method, path=path, params={}, headers=covered)
    names = ";".join(sorted(covered))
    return {
        **headers,
        "Authorization": f"q-sign-algorithm=sha1&q-ak=AKID&q-sign-time={window}&q-key-time={window}"
        f"&q-header-list={names}&q-url-param-list=&q-signature={signature}",
    }


async def make(folder: Path, **changes: Any) -> CosApp:
    settings: dict[str, Any] = {"data_dir": folder, "buckets": [BUCKET], "credentials": {"AKID": "secret"}, **changes}
    return await asyncio.to_thread(lambda: create_app(**settings))


def client_of(app: CosApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HOST}")


async def test_nothing_blocks_the_loop(tmp_path: Path, portrait: bytes) -> None:
    events: list[Any] = []

    async def take(event: Any) -> None:
        events.append(event)

    app = await make(tmp_path, on_created=take)
    async with app.router.lifespan_context(app), client_of(app) as client:
        put = await client.put("/input/a.jpg", content=portrait, headers=signed("PUT", "/input/a.jpg"))
        got = await client.get("/input/a.jpg", headers=signed("GET", "/input/a.jpg"))
        rules = '{"rules":[{"fileid":"/o.png","rule":"ci-process=GoodsMatting"}]}'
        headers = {"pic-operations": rules}
        again = await client.put("/b.jpg", content=portrait, headers=signed("PUT", "/b.jpg", **headers))
        gone = await client.delete("/input/a.jpg", headers=signed("DELETE", "/input/a.jpg"))
        assert [answer.status_code for answer in (put, got, again, gone)] == [200, 200, 200, 204]
        assert got.content == portrait
        await app.state.events.idle()
        assert len(events) == 1


async def test_an_event_comes_after_the_answer(tmp_path: Path) -> None:
    order: list[str] = []

    async def take(_: Any) -> None:
        order.append("event")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        order.append(message["type"])

    headers = {"host": HOST, "content-length": "0", **signed("PUT", "/input/a")}
    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/input/a",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    app = await make(tmp_path, on_created=take)
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
        await app.state.events.idle()
    assert order == ["http.response.start", "http.response.body", "event"]


async def test_the_events_of_an_app_that_is_not_alive_are_an_error_and_no_silence(tmp_path: Path) -> None:
    async def take(_: Any) -> None:
        raise AssertionError

    app = await make(tmp_path, on_created=take)
    async with client_of(app) as client:
        answer = await client.put("/input/a", content=b"", headers=signed("PUT", "/input/a"))
    assert answer.status_code == 500
    await asyncio.to_thread(app.state.service.close)


async def test_a_cut_is_seen_by_an_in_process_client_too(tmp_path: Path) -> None:
    app = await make(tmp_path)
    app.state.service.faults.arm(Fault(FaultKind.CUT_AFTER, "PUT"))
    async with app.router.lifespan_context(app), client_of(app) as client:
        with pytest.raises(ConnectionResetError):
            await client.put("/a", content=b"x", headers=signed("PUT", "/a"))
        head = await client.head("/a", headers=signed("HEAD", "/a"))
        assert (head.status_code, head.headers["content-length"]) == (200, "1")


async def test_a_cut_download_leaves_no_open_file(tmp_path: Path) -> None:
    app = await make(tmp_path)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await client.put("/a", content=b"x", headers=signed("PUT", "/a"))
        app.state.service.faults.arm(Fault(FaultKind.CUT_AFTER, "GET"))
        with pytest.raises(ConnectionResetError):
            await client.get("/a", headers=signed("GET", "/a"))


async def test_headers_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    app = await make(tmp_path)
    async with app.router.lifespan_context(app), client_of(app) as client:
        both = {**signed("PUT", "/a"), "transfer-encoding": "chunked", "content-length": "1"}
        assert (await client.put("/a", content=b"x", headers=both)).status_code == 400
        twice = [*signed("PUT", "/a").items(), ("content-type", "a/b"), ("content-type", "c/d")]
        assert (await client.put("/a", content=b"x", headers=twice)).status_code == 400
        short = {**signed("PUT", "/a"), "content-length": "5"}
        answer = await client.put("/a", content=b"x", headers=short)
        assert (answer.status_code, b"<Code>IncompleteBody</Code>" in answer.content) == (400, True)
        assert (await client.head("/a", headers=signed("HEAD", "/a"))).status_code == 404
