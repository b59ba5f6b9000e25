"""`submit` of many tasks: an error of one is reported for that one, and the others go on."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from console.cli.main import submit
from console.cli.submit import direct
from services.errors import BackendDown
from tasks.view import view_of

API = "https://api.example"
STORE = "https://store.example"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Four photos; their order is their number."""
    found = [tmp_path / f"photo_{number}.jpg" for number in range(4)]
    for photo in found:
        photo.write_bytes(photo.name.encode())
    return found


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith(("_URL", "_SECRET", "_KEYS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ENVIRONMENT", "development")
    monkeypatch.setenv("API_URL", API)
    monkeypatch.setenv("JWT_SECRET", "s" * 40)


class Services:
    """The API and the store. The second photo is not sold, the third not stored, the fourth's connection breaks."""

    def __init__(self) -> None:
        self.sold: dict[str, str] = {}
        self.bought = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/uploads"):
            self.bought += 1
            task = f"task{self.bought}"
            if self.bought == 2:
                return httpx.Response(402, json={"detail": "quota used up", "code": "no_quota"})
            uploads = [
                {"url": f"{STORE}/{task}/{name}", "headers": {}, "body": "{}"} for name in ("photo", "task.json")
            ]
            return httpx.Response(200, json={"taskId": task, "uploads": uploads})
        if request.method == "PUT":
            return httpx.Response(503 if "task3" in path else 200)
        if request.method == "GET" and path.endswith("task4"):
            raise httpx.ReadError("cut", request=request)
        if path.endswith("/result.jpg"):
            return httpx.Response(200, content=b"a picture")
        results = [{"name": "result.jpg", "url": f"{STORE}/result.jpg"}]
        return httpx.Response(200, json={"taskId": path.rpartition("/")[2], "state": "success", "results": results})


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, environment: None) -> Services:
    found = Services()
    client = functools.partial(httpx.AsyncClient, transport=httpx.MockTransport(found))
    monkeypatch.setattr(httpx, "AsyncClient", client)
    # One after the other, so that the order of the photos is that of the purchases.
    monkeypatch.setattr("console.cli.submit.api.AT_ONCE", 1)
    return found


def run(photos: list[Path], out: Path, **options: Any) -> int:
    """Run the command. Returns its exit status."""
    with pytest.raises(typer.Exit) as left:
        submit(photos, out=out, **options)
    return left.value.exit_code


def test_every_task_is_in_the_document(
    services: Services, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photos, tmp_path / "out", as_json=True) == 1
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert [(one["task_id"], one["status"], one["inputs"]) for one in tasks] == [
        ("task1", "success", [str(photos[0])]),
        ("", "error", [str(photos[1])]),
        ("task3", "error", [str(photos[2])]),
        ("task4", "error", [str(photos[3])]),
    ]
    assert [Path(name).read_bytes() for name in tasks[0]["files"]] == [b"a picture"]
    endings = [one["ending"] for one in tasks[1:]]
    assert "the API answers 402" in endings[0]
    assert "quota used up" in endings[0]
    assert endings[1] == "the store refuses an upload: it answered 503"
    assert "the connection broke before the answer was read" in endings[2]


def test_every_task_is_reported_to_a_person(
    services: Services, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photos, tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert "task task1: success: 1 files" in printed.out
    errors = [line for line in printed.err.splitlines() if line.startswith("scf-workers: ")]
    assert [line.split(":")[1].strip() for line in errors] == [
        photos[1].name,
        "task task3 (photo_2.jpg)",
        "task task4 (photo_3.jpg)",
    ]


def test_an_error_of_all_is_printed_once(
    services: Services,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    monkeypatch.setattr(
        httpx, "AsyncClient", functools.partial(httpx.AsyncClient, transport=httpx.MockTransport(refuse))
    )
    assert run(photos, tmp_path / "out") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("scf-workers: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"scf-workers: 4 tasks: the API, {API} (API_URL), does not answer (no connection): ")


def test_a_disk_that_is_full_is_an_error_of_the_task(
    services: Services,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def full(path: Path, pieces: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("console.cli.submit.api.write_pieces", full)
    assert run(photos[:1], tmp_path / "out") == 1
    printed = capsys.readouterr()
    wanted = f"scf-workers: task task1 (photo_0.jpg): {tmp_path / 'out/task1/result.jpg'}: No space left on device"
    assert wanted in printed.err.splitlines()
    assert "Traceback" not in printed.err


class Direct:
    """A client without the API. The second photo is not sold, and the third's upload fails."""

    async def buy(self, user: str, kind: str, params: object, inputs: int, priority: str) -> Any:
        from console.cli.client import Sold

        self.bought = getattr(self, "bought", 0) + 1
        if self.bought == 2:
            raise BackendDown("the backend rejects it")
        return Sold(f"task{self.bought}", user, kind, "ticket", {})

    async def upload(self, sold: Any, photos: object) -> str:
        if sold.task_id == "task3":
            raise BackendDown("the store is away")
        return "input/original.jpg"

    async def status(self, sold: Any) -> str:
        return "success"

    async def view(self, sold: Any) -> Any:
        return view_of(sold.run, {}, {})

    async def download(self, sold: Any, folder: Path) -> list[Path]:
        return [folder / sold.task_id / "result.jpg"]


def test_without_the_api_every_task_is_in_the_document(
    environment: None,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @asynccontextmanager
    async def opened(settings: object) -> AsyncGenerator[Direct]:
        yield Direct()

    monkeypatch.setattr(direct, "open_client", opened)
    monkeypatch.setattr(direct, "AT_ONCE", 1)
    assert run(photos, tmp_path / "out", direct=True, as_json=True) == 1
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert [(one["task_id"], one["status"], one["ending"]) for one in tasks] == [
        ("task1", "success", ""),
        ("", "error", "the backend rejects it"),
        ("task3", "error", "the store is away"),
        ("task4", "success", ""),
    ]
