"""The stand-in over real HTTP, on a clock that only the test moves, and a store of reference pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx  # noqa: F401 - the clients import it late, and tests make clients inside a running loop
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.server import Server
from sandbox.vod import Account, Core, Fault, create_app
from services.objects.credentials import Credentials
from services.vendors.vod.client import Vod
from telemetry.secrets import Secret
from tests.contract.standin import Clock, StandIn, running

KEYS = Credentials(Secret("AKIDkeypair0123456789"), Secret("secret-of-the-key-pair"))
ROLE = Credentials(Secret("AKIDrole0123456789"), Secret("secret-of-the-role"), Secret("sts-token-of-the-role"))
APPLICATION = 1_500_044_236
PHOTOS = Path(__file__).parents[3] / "sandbox" / "photos"


class VodStandIn(StandIn[Core]):
    @property
    def jobs(self) -> int:
        return len(self.core.stats()["jobs"])


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VodStandIn]:
    clock = Clock()
    accounts = {
        one.secret_id.reveal(): Account(
            secret_key=one.secret_key.reveal(), token=one.token.reveal(), application=APPLICATION, concurrent=4
        )
        for one in (KEYS, ROLE)
    }
    app = create_app(accounts=accounts, data_dir=tmp_path / "vod", clock=clock, seed=7, duration_s=100.0)
    found = VodStandIn(Server(app), app.state.core, clock, Fault)
    with running(found, monkeypatch):
        yield found


@pytest.fixture
def store() -> Iterator[str]:
    """URL of a folder of pictures that want their signature."""

    async def serve(request: Request) -> Response:
        if request.query_params.get("sign") != "5161e0c3":
            return Response(status_code=403)
        if request.path_params["name"] == "text":
            return Response(b"no picture", media_type="image/jpeg")
        return Response((PHOTOS / "portrait.jpg").read_bytes(), media_type="image/jpeg")

    with Server(Starlette(routes=[Route("/{name}.jpg", serve)])) as server:
        yield server.url


@pytest.fixture
def client_for(standin: VodStandIn) -> Callable[..., Vod]:
    def make(url: str = "", credentials: Credentials = ROLE, **more: Any) -> Vod:
        settings: dict[str, Any] = {
            "sub_app_id": APPLICATION,
            "model": "WAND-tryon-1.0-flash",
            "timeout": 20.0,
            "resend_after": 0.0,
            "clock": standin.clock,
            **more,
        }
        return Vod(base_url=url or standin.url, credentials=lambda: credentials, **settings)

    return make
