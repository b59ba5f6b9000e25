"""The proxy of the chaos run: it passes calls unchanged, and each fault does what its name says."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sandbox.server import Server
from tests.chaos.proxy import FAULTS, Proxies, Upset


class Echo:
    """A service that answers with what it was sent."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.app = Starlette(
            routes=[
                Route("/chunks", self._chunks),
                Route("/{path:path}", self._answer, methods=["GET", "HEAD", "PUT", "POST", "DELETE"]),
            ]
        )

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        self.heard.append((f"{request.method} {request.headers['host']}", body))
        if request.method == "DELETE":
            return Response(status_code=204)
        return Response(body, headers={"ETag": request.headers.get("x-tag", "")})

    async def _chunks(self, _: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for n in range(100):
                yield b"%d," % n

        return StreamingResponse(pieces())


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def proxies(echo: Echo) -> Iterator[Proxies]:
    with Server(echo.app) as server:
        found = Proxies({"echo": server.port}, {"echo": Upset(1.0, longest_s=0.3)}, seed=1)
        found.start()
        yield found
        found.stop()


def test_what_passes_is_what_was_sent(proxies: Proxies, echo: Echo) -> None:
    address = f"http://127.0.0.1:{proxies.ports['echo']}"
    with httpx.Client(base_url=address, trust_env=False) as client:
        body = bytes(range(256)) * 4_000
        assert client.put("/a", content=body, headers={"x-tag": "t1"}).content == body
        assert client.post("/a", content=iter([b"one", b"two"])).content == b"onetwo"
        assert client.get("/chunks").text == "".join(f"{n}," for n in range(100))
        assert client.head("/a").status_code == 200
        assert client.delete("/a").status_code == 204
        assert client.get("/a", headers={"Expect": "100-continue"}).status_code == 200
    assert echo.heard[0] == (f"PUT 127.0.0.1:{proxies.ports['echo']}", body), "signatures cover the host"
    assert proxies.faults() == {"echo": {}}


@pytest.mark.parametrize(("fault", "arrives"), [("lost", 1), ("late", 1), ("reset", 0), ("error", 0), ("twice", 2)])
def test_each_fault_is_what_it_is_called(
    proxies: Proxies, echo: Echo, monkeypatch: pytest.MonkeyPatch, fault: str, arrives: int
) -> None:
    assert fault in FAULTS
    monkeypatch.setattr(random.Random, "choice", lambda _self, _known: fault)
    proxies.upset(active=True)
    address = f"http://127.0.0.1:{proxies.ports['echo']}"
    with httpx.Client(base_url=address, trust_env=False) as client:
        if fault in {"lost", "reset"}:
            with pytest.raises(httpx.TransportError):
                client.post("/a", content=b"x")
        else:
            answer = client.post("/a", content=b"x")
            assert answer.status_code == (503 if fault == "error" else 200)
    assert len(echo.heard) == arrives
    proxies.upset(active=False)
    assert httpx.post(f"{address}/a", content=b"y", trust_env=False).content == b"y"
    assert proxies.faults() == {"echo": {fault: 1}}


def test_a_paid_call_does_not_arrive_twice(echo: Echo) -> None:
    with Server(echo.app) as server:
        proxies = Proxies({"echo": server.port}, {"echo": Upset(1.0, repeats=False, longest_s=0.01)}, seed=1)
        proxies.start()
        proxies.upset(active=True)
        for n in range(60):
            before = len(echo.heard)
            with contextlib.suppress(httpx.TransportError):
                httpx.post(f"http://127.0.0.1:{proxies.ports['echo']}/{n}", content=b"x", trust_env=False)
            assert len(echo.heard) - before <= 1
        proxies.stop()
    assert "twice" not in proxies.faults()["echo"]
