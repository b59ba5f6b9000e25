"""A running stand-in, and the real SDK pointed at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from qcloud_cos import AIRecognitionClient, CosConfig

from sandbox.cos.app import create_app
from sandbox.server import Server

BUCKET = "demo-1250000000"
REGION = "ap-guangzhou"
SECRET_ID, SECRET_KEY = "AKIDlocal", "local-secret"
TEMPORARY_ID, TEMPORARY_KEY, TOKEN = "AKIDtemporary", "temporary-secret", "STS-TOKEN"
PORTRAIT = Path(__file__).parents[3] / "sandbox" / "photos" / "portrait.jpg"


@dataclass
class StandIn:
    """One stand-in that serves."""

    server: Server
    offset: list[float]
    """Added to its clock, seconds."""
    sessions: list[requests.Session] = field(default_factory=list)
    bucket: str = BUCKET
    region: str = REGION

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=50))
        self.sessions.append(session)
        return session

    def client(self, style: str = "path", **changes: Any) -> Any:
        """The SDK, without its own retries: `path`, `proxy` (real virtual hosts), or `ip`."""
        addressing: dict[str, Any] = {
            "path": {"Domain": f"{self.authority}/{BUCKET}", "EndpointCi": self.authority},
            "proxy": {"Proxies": {"http": self.url}},
            "ip": {"IP": "127.0.0.1", "Port": self.server.port},
        }[style]
        settings = {"Region": REGION, "SecretId": SECRET_ID, "SecretKey": SECRET_KEY, "Scheme": "http", "Timeout": 20}
        return AIRecognitionClient(CosConfig(**{**settings, **addressing, **changes}), retry=0, session=self.session())

    def control(self, method: str, path: str, **options: Any) -> Any:
        answer = self.session().request(method, f"{self.url}/_sandbox/{path}", timeout=20, **options)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def keys(self) -> list[str]:
        return [found["key"] for found in self.control("GET", f"buckets/{BUCKET}")]

    def arm(self, kind: str, **fault: Any) -> None:
        self.control("POST", "faults", json={"kind": kind, **fault})


Serve = Callable[..., StandIn]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts stand-ins; they are stopped at the end."""
    running: list[StandIn] = []

    def start(**changes: Any) -> StandIn:
        offset = [0.0]
        settings: dict[str, Any] = {
            "data_dir": tmp_path / "cos",
            "buckets": [BUCKET, "ledger-1250000000"],
            "credentials": {SECRET_ID: SECRET_KEY, TEMPORARY_ID: TEMPORARY_KEY},
            "tokens": {TEMPORARY_ID: TOKEN},
            "region": REGION,
            "appid": "1250000000",
            "clock": lambda: time.time() + offset[0],
        }
        standin = StandIn(Server(create_app(**{**settings, **changes})).start(), offset)
        running.append(standin)
        return standin

    yield start
    for standin in running:
        stop(standin)


def stop(standin: StandIn) -> None:
    for session in standin.sessions:
        session.close()
    standin.server.stop()


@pytest.fixture
def standin(serve: Serve) -> StandIn:
    return serve()


@pytest.fixture
def portrait() -> bytes:
    return PORTRAIT.read_bytes()
