"""The stand-in over real HTTP, on a clock that only the test moves, and a store of reference pictures."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx  # noqa: F401 - the clients import it late, and tests make clients inside a running loop
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.ark import Core, Fault, KeyLimits, create_app, handlers
from sandbox.server import Server
from services.vendors.ark.client import Ark
from telemetry.secrets import Secret
from tests.support.leap import holding_back

KEY = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
MODEL = "doubao-seedream-4-0-250828"
PHOTO = Path(__file__).parents[3] / "sandbox" / "photos" / "portrait.jpg"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class StandIn:
    """Server, core and clock."""

    def __init__(self, server: Server, core: Core, clock: Clock) -> None:
        self.url = server.url
        self.port = server.port
        self.core = core
        self.clock = clock
        self.caller: asyncio.AbstractEventLoop | None = None

    def skip_limits(self) -> None:
        """From now on a call of this loop that gets no answer is at its limit as soon as it is held back."""
        self.caller = asyncio.get_running_loop()

    def arm(self, on: str, kind: str = "answer", **more: Any) -> None:
        self.core.arm(Fault(on=on, kind=kind, **more))  # type: ignore[arg-type] # what is armed is checked by Fault

    @property
    def charged(self) -> int:
        return int(self.core.stats()["charged"])


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    clock = Clock()
    app = create_app(
        api_keys={KEY: KeyLimits(per_minute=5)}, data_dir=tmp_path / "ark", clock=clock, seed=7, duration_s=0.0
    )
    server = Server(app)
    found = StandIn(server, app.state.core, clock)
    held = holding_back(handlers.wait_for_disconnect, lambda: found.caller)
    monkeypatch.setattr(handlers, "wait_for_disconnect", held)
    with server:
        yield found


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def photo() -> bytes:
    return PHOTO.read_bytes()


@pytest.fixture
def store(photo: bytes) -> Iterator[str]:
    """URL of a folder of pictures that want their signature."""

    async def serve(request: Request) -> Response:
        if request.query_params.get("sign") != "5161e0c3":
            return Response(status_code=403)
        match request.path_params["name"]:
            case "photo":
                return Response(photo, media_type="image/jpeg")
            case "slim":
                return Response(drawn((1000, 20)), media_type="image/png")
            case "bmp":
                return Response(drawn((64, 64), "BMP"), media_type="image/bmp")
            case "huge":
                return Response(photo + bytes(10 << 20), media_type="image/jpeg")
            case _:
                return Response(b"no picture", media_type="image/jpeg")

    with Server(Starlette(routes=[Route("/{name}.jpg", serve)])) as server:
        yield server.url


def drawn(size: tuple[int, int], kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, kind)
    return out.getvalue()


@pytest.fixture
def client_for() -> Callable[..., Ark]:
    def make(url: str, key: str = KEY, **more: Any) -> Ark:
        settings = {"model": MODEL, "timeout": 20.0, **more}
        return Ark(base_url=url, api_key=Secret(key), **settings)

    return make


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """Takes connections into its queue and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield int(listener.getsockname()[1])
