"""The API as a process: killed between sale and acceptance, and asked to stop while streams are open."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from console.processes.handlers import HANDLERS
from sandbox.environment import Sandbox
from tests.api.conftest import CREATE, token
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.slow

DIES = """
import asyncio, os, signal, sys
import producer.api.submissions as submissions

async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

submissions.accept = die
from producer.api.http.server import run_server
run_server("127.0.0.1", int(sys.argv[1]))
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "data", HANDLERS, duration_s=0.2) as sandbox:
        yield sandbox


@contextmanager
def _process(log: Path, environ: Mapping[str, str], *argv: str, ready: str = "") -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *argv], env=dict(environ), stdout=out, stderr=out)
    try:
        _until(lambda: ready in log.read_text(encoding="utf-8"), log)
        yield process
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_S)


def _until(condition: Any, log: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.05)


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_kill_between_sale_and_acceptance_loses_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    port = _port()
    headers = {"Authorization": f"Bearer {token(secret=sandbox.environ['JWT_SECRET'])}", "Idempotency-Key": "k"}
    body = {"kind": "basic_clean", "inputs": [f"{sandbox.environ['PHOTOS_URL']}/portrait.jpg"]}
    with _process(tmp_path / "api.log", sandbox.environ, "-c", DIES, str(port), ready="api.started") as process:
        with pytest.raises(httpx.HTTPError):
            httpx.post(
                f"http://127.0.0.1:{port}{CREATE}", headers=headers, json=body, timeout=PATIENCE_S, trust_env=False
            )
        assert process.wait(timeout=PATIENCE_S) == -signal.SIGKILL
    (task,) = sandbox.quota_account()["tasks"]
    assert (task["status"], task["charges"]) == ("pending", 1)
    sweep = ["-m", "console", "sweep", "--older-than", "0", "--json"]
    done = subprocess.run(
        [sys.executable, *sweep], env=dict(sandbox.environ), capture_output=True, check=True, text=True
    )
    assert json.loads(done.stdout.splitlines()[-1])["woken"] == 1
    log = tmp_path / "work.log"
    with _process(log, sandbox.environ, "-m", "console", "work", ready="worker.started"):
        _until(lambda: sandbox.quota_account()["tasks"][0]["status"] != "pending", log)
    account = sandbox.quota_account()
    assert account["tasks"][0]["status"] == "success"
    assert (account["charged"], account["refunded"]) == (1, 0)


def test_behind_a_function_url_the_image_answers_with_whole_documents(sandbox: Sandbox, tmp_path: Path) -> None:
    """The server of the image, with the handler that docs/how-to/use-the-api.md names."""
    port, log = _port(), tmp_path / "image.log"
    environ = {**sandbox.environ, "PORT": str(port)}
    authorization = {"Authorization": f"Bearer {token(secret=environ['JWT_SECRET'])}"}

    def call(method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Call the handler with a request as a Function URL does."""
        event = {
            "httpMethod": method,
            "path": path,
            "queryString": {},
            "headers": {**authorization, "Content-Type": "application/json"},
            "body": "" if body is None else json.dumps(body),
        }
        answer = httpx.post(
            f"http://127.0.0.1:{port}/event-invoke", json=event, timeout=PATIENCE_S, trust_env=False
        ).raise_for_status()
        return answer.json()["statusCode"], json.loads(answer.json()["body"])

    with _process(log, environ, "-m", "runtime.image", "producer.api.http.function") as process:
        _until(lambda: _listens(port), log)
        photo = f"{environ['PHOTOS_URL']}/portrait.jpg"
        status, created = call("POST", CREATE, {"kind": "basic_clean", "inputs": [photo]})
        assert status == 202
        # The process stands still after its answer, so the task is accepted by then.
        status, state = call("GET", created["statusUrl"])
        assert (status, state["state"], bool(state["traceId"])) == (200, "queued", True)
        status, problem = call("GET", created["eventsUrl"])
        assert (status, "?wait" in problem["detail"]) == (501, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0


def _listens(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def test_it_stops_at_once_though_streams_are_open(sandbox: Sandbox, tmp_path: Path) -> None:
    port, log = _port(), tmp_path / "api.log"
    headers = {"Authorization": f"Bearer {token(secret=sandbox.environ['JWT_SECRET'])}"}
    body = {"kind": "basic_clean", "inputs": [f"{sandbox.environ['PHOTOS_URL']}/portrait.jpg"]}
    # As a web function of the image, which the platform reaches from outside.
    argv = ("-m", "console", "api", "--host", "0.0.0.0", "--port", str(port))  # noqa: S104
    with (
        _process(log, sandbox.environ, *argv, ready="api.started") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=PATIENCE_S, trust_env=False) as http,
    ):
        created = http.post(CREATE, json=body)
        assert created.status_code == 202
        with http.stream("GET", created.json()["eventsUrl"]) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 3000"
            process.send_signal(signal.SIGTERM)
            # The stream ends as it should, not cut off.
            assert [line for line in lines if line.startswith("event: ")] in (["event: progress"], [])
        assert process.wait(timeout=PATIENCE_S) in {0, -signal.SIGTERM}
    assert "Traceback" not in log.read_text(encoding="utf-8")
