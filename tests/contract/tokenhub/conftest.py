"""The stand-in for the chat model over real HTTP, and a host with pictures that it fetches."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx
import msgspec
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import spoiled_answers
from sandbox.server import Server
from sandbox.tokenhub import Core, Fault, create_app
from services.vendors.chat import ChatAnswer, ChatRequest
from services.vendors.tokenhub.client import TokenHub
from telemetry.secrets import Secret
from tests.support.leap import holding_back

KEY = "sk-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
MODEL = "hy4"


class Words(msgspec.Struct, frozen=True):
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class StandIn:
    """Server and core, the pictures it may fetch, and a client."""

    def __init__(self, server: Server, core: Core, pictures: str) -> None:
        self.url = f"{server.url}/v1"
        self.core = core
        self.pictures = pictures
        self.caller: asyncio.AbstractEventLoop | None = None

    def arm(self, kind: str = "error", **more: Any) -> None:
        self.core.arm(Fault(kind=kind, **more))

    def skip_limits(self) -> None:
        """From now on a call of this loop without an answer reaches its time limit at once."""
        self.caller = asyncio.get_running_loop()

    def client(self, **more: Any) -> TokenHub:
        settings = {"base_url": self.url, "api_key": Secret(KEY), "model": MODEL, **more}
        return TokenHub(**settings)

    async def ask(self, text: str = "写一段提示词", *, images: tuple[str, ...] = (), **more: Any) -> ChatAnswer[Words]:
        client = self.client(**more)
        try:
            request = ChatRequest("You write prompts.", text, Words, tuple(f"{self.pictures}/{n}" for n in images))
            return await client.ask(request, timeout=20.0)
        finally:
            await client.close()

    @property
    def asked(self) -> list[dict[str, Any]]:
        return self.core.asked


def picture(colour: str, size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


PICTURES = {
    "red.png": picture("#c8282d", (30, 60)),
    "blue.png": picture("#325fbe", (60, 30)),
    "large.png": b"\x89PNG" + bytes(10 * 1024 * 1024),
    "none.png": b"nothing that is a picture",
}


async def _serve_picture(request: Request) -> Response:
    body = PICTURES.get(request.path_params["name"])
    return Response(body, media_type="image/png") if body else Response(status_code=404)


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    asgi = create_app(api_keys=frozenset({KEY}))
    with (
        Server(asgi) as server,
        Server(Starlette(routes=[Route("/{name}", _serve_picture)])) as pictures,
    ):
        found = StandIn(server, asgi.state.core, pictures.url)

        held = holding_back(spoiled_answers.wait_for_disconnect, lambda: found.caller)
        monkeypatch.setattr(spoiled_answers, "wait_for_disconnect", held)
        yield found


@pytest.fixture
def post(standin: StandIn) -> Callable[..., Any]:
    """Send a question without the product's client; return the answer's JSON and status."""

    async def send(body: dict[str, Any] | bytes, key: str = KEY) -> tuple[int, dict[str, Any]]:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as http:
            headers = {"Authorization": f"Bearer {key}"}
            answer = await http.post(f"{standin.url}/chat/completions", content=content, headers=headers)
            return answer.status_code, dict(answer.json())

    return send
