"""The stand-in over real HTTP, on a clock that only the test moves, and a store of reference pictures."""

from __future__ import annotations

import io
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

from sandbox.ark import Core, Fault, KeyLimits, create_app
from sandbox.server import Server
from services.vendors.ark.client import Ark
from telemetry.secrets import Secret
from tests.contract.standin import Clock, StandIn, running

KEY = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
MODEL = "doubao-seedream-4-0-250828"
PHOTO = Path(__file__).parents[3] / "sandbox" / "photos" / "portrait.jpg"


class ArkStandIn(StandIn[Core]):
    @property
    def charged(self) -> int:
        return int(self.core.stats()["charged"])


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArkStandIn]:
    clock = Clock()
    app = create_app(
        api_keys={KEY: KeyLimits(per_minute=5)}, data_dir=tmp_path / "ark", clock=clock, seed=7, duration_s=0.0
    )
    found = ArkStandIn(Server(app), app.state.core, clock, Fault)
    with running(found, monkeypatch):
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
