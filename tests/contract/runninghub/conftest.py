"""The stand-in over real HTTP, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx  # noqa: F401 - the clients import it late, and tests make clients inside a running loop
import pytest

from sandbox.runninghub import DEMO_WORKFLOW_ID, Core, Fault, KeyLimits, create_app
from sandbox.server import Server
from services.vendors.runninghub.client import Node, RunningHub, Workflow
from telemetry.secrets import Secret
from tests.contract.standin import Clock, StandIn, running

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
OTHER_KEY = "ffffffff4b5a69788796a5b4c3d2ffff"
PHOTO = Path(__file__).parents[3] / "sandbox" / "photos" / "portrait.jpg"


class RunningHubStandIn(StandIn[Core]):
    """Its jobs take some 2 s of its clock."""

    def finish_jobs(self) -> None:
        self.clock.now += 60.0


def serve(folder: Path, clock: Clock) -> tuple[Server, Core]:
    app = create_app(api_keys={KEY: KeyLimits(), OTHER_KEY: KeyLimits()}, data_dir=folder, clock=clock, seed=7)
    return Server(app), app.state.core


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningHubStandIn]:
    clock = Clock()
    server, core = serve(tmp_path / "standin", clock)
    found = RunningHubStandIn(server, core, clock, Fault)
    with running(found, monkeypatch):
        yield found


@pytest.fixture
def restarted(tmp_path: Path, standin: RunningHubStandIn) -> Iterator[RunningHubStandIn]:
    """A second stand-in like the first, that knows nothing of it."""
    server, core = serve(tmp_path / "restarted", standin.clock)
    with server:
        yield RunningHubStandIn(server, core, standin.clock, Fault)


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def other_key() -> str:
    return OTHER_KEY


@pytest.fixture
def photo() -> bytes:
    return PHOTO.read_bytes()


@pytest.fixture
def workflows() -> dict[str, Workflow]:
    pose = Workflow(
        workflow_id=DEMO_WORKFLOW_ID,
        inputs={"photo": Node("10", "image")},
        params={"prompt": Node("6", "text")},
        outputs=("9",),
    )
    return {"model_pose12": pose}


@pytest.fixture(params=["v2", "v1"])
def api(request: pytest.FixtureRequest) -> str:
    """Both generations of the interface: each test that uses a client runs with both."""
    return str(request.param)


@pytest.fixture
def client_for(workflows: dict[str, Workflow], api: str) -> Callable[..., RunningHub]:
    def make(url: str, key: str = KEY, **more: Any) -> RunningHub:
        settings = {"workflows": workflows, "timeout": 20.0, "api": api, **more}
        return RunningHub(base_url=url, api_key=Secret(key), **settings)

    return make
