"""The whole product in processes, with planted secrets: every byte that they print or keep is searched."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import httpx
import pytest

from console.cli.environment import read_env_file
from runtime.credentials import credentials_in
from runtime.settings import load_settings
from sandbox.environment import BUCKET, LEDGER_BUCKET
from services.objects.cos import CosObjects
from services.objects.walk import walk
from tests.bad_input import pictures
from tests.secrets.plants import ENVIRONMENT, Plants
from tests.support.patience import PATIENCE_S

ROOT: Final = Path(__file__).parents[2]

KEPT: Final[Mapping[str, str]] = {
    "data/secrets.json": "the stand-ins' own keys, for their owner only",
    "data/cos/index.sqlite": "COS keeps what the uploader wrote: the ticket in the metadata of `input/`",
}
"""Files that may hold a secret, and why. The environment file is another one: it is read while it exists."""


class Stage:
    """A sandbox and a worker, and what they and other commands print."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env_file = folder / "env"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.readers: list[threading.Thread] = []

    def start(self, name: str, *words: str, wait_for: bytes = b"") -> subprocess.Popen[bytes]:
        """Start a command, its output in a file; wait until it has printed something."""
        with (self.folder / f"{name}.stderr").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "console", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, env=clean()
            )
        self.processes.append(process)
        assert process.stdout is not None
        printed = bytearray()
        while wait_for and wait_for not in printed:
            line = process.stdout.readline()
            assert line, (self.folder / f"{name}.stderr").read_text()
            printed += line
        reader = threading.Thread(target=self._keep, args=(process.stdout, name, bytes(printed)), daemon=True)
        reader.start()
        self.readers.append(reader)
        return process

    def _keep(self, pipe: IO[bytes], name: str, printed: bytes) -> None:
        with pipe:
            (self.folder / f"{name}.stdout").write_bytes(printed + pipe.read())

    def stop(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE_S)
        for reader in self.readers:
            reader.join(timeout=PATIENCE_S)

    @property
    def environ(self) -> dict[str, str]:
        return read_env_file(self.env_file)

    def arm(self, variable: str, **fault: object) -> None:
        httpx.post(f"{self.environ[variable]}/_sandbox/faults", json=fault, trust_env=False).raise_for_status()


def clean() -> dict[str, str]:
    """This process's environment, without variables of the product, and with the most verbose log."""
    return {"LOG_LEVEL": "DEBUG"} | {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def run_all(stage: Stage, commands: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Run commands beside each other; their exit statuses."""
    started = {name: stage.start(name, *words, "--env-file", str(stage.env_file)) for name, words in commands.items()}
    return {name: process.wait(timeout=120) for name, process in started.items()}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    names = {
        "secret_id": "TENCENTCLOUD_SECRET_ID",
        "secret_key": "TENCENTCLOUD_SECRET_KEY",
        "callback": "INTERNAL_CALLBACK_SECRET",
        "ticket": "TICKET_SECRET",
        "jwt": "JWT_SECRET",
        "webhook": "WEBHOOK_SECRET",
        "runninghub": "RUNNINGHUB_API_KEY",
        "ark": "ARK_API_KEY",
        "tokenhub": "TOKENHUB_API_KEY",
    }
    planted = {name: ENVIRONMENT[variable] for name, variable in names.items()}
    planted["message"] = ENVIRONMENT["MESSAGE_KEYS"].rpartition(":")[2]
    (data / "secrets.json").write_text(json.dumps(planted))
    try:
        made.start(
            "sandbox", "sandbox", "--data", str(data), "--env-file", str(made.env_file), "--duration", "1",
            wait_for=b"environment in",
        )  # fmt: skip
        yield made
    finally:
        made.stop()


async def objects_of(environ: Mapping[str, str], bucket: str) -> list[tuple[str, bytes]]:
    """Every object of a bucket, and its metadata, except the uploader's objects under `input/`."""
    settings = load_settings(environ)
    store = CosObjects(
        bucket=bucket,
        region=settings.tencentcloud_region,
        credentials=lambda: credentials_in(environ, settings),
        endpoint=settings.cos_endpoint,
        pool=4,
    )
    try:
        found: list[tuple[str, bytes]] = []
        async for item in walk(store, "", random.Random(1)):
            if not item.key.startswith("input/"):
                content = await store.get(item.key, limit=1 << 26)
                found += [(f"{item.key} in {bucket}", content.body), (f"headers of {item.key}", repr(content).encode())]
        return found
    finally:
        await store.close()


def files_of(folder: Path) -> list[tuple[str, bytes]]:
    """Every file, save those that may hold a secret, and the store's: its objects are read as such."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "blobs")
    names = {path: path.relative_to(folder).as_posix() for path in paths}
    return [(name, path.read_bytes()) for path, name in names.items() if name.removesuffix("-wal") not in KEPT]


@pytest.mark.slow
def test_no_process_prints_or_keeps_a_secret(stage: Stage) -> None:
    plants = Plants(ENVIRONMENT)
    photo, broken = stage.folder / "photo.jpg", stage.folder / "broken.jpg"
    photo.write_bytes(pictures.jpeg())
    broken.write_bytes(pictures.TEXT)
    assert stat.S_IMODE(stage.env_file.stat().st_mode) == 0o600
    worker = stage.start("work", "work", "--env-file", str(stage.env_file))
    stage.arm("RUNNINGHUB_URL", on="job", kind="fail", code="805")
    stage.arm("RUNNINGHUB_URL", on="query", kind="unauthorized")
    out = ("--out", str(stage.folder / "out"), "--wait", "100")
    ended = run_all(
        stage,
        {
            "submit-1": ("submit", str(photo), *out),
            "submit-2": ("submit", "--direct", str(photo), *out),
            "submit-3": ("submit", str(broken), "--kind", "basic_clean", *out),
        },
    )
    assert sorted(ended.values()) == [0, 1, 1]
    environ = stage.environ
    tried = run_all(
        stage,
        {"doctor": ("doctor", "--json"), "sweep": ("sweep", "--older-than", "0", "--json"), "trace": ("trace",)},
    )
    assert tried == {"doctor": 0, "sweep": 0, "trace": 0}
    book = httpx.get(f"{environ['BACKEND_URL']}/_sandbox/quota", trust_env=False).content
    kept = [*asyncio.run(objects_of(environ, LEDGER_BUCKET)), *asyncio.run(objects_of(environ, BUCKET))]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE_S) == 0
    stage.stop()
    outputs = [("the book", book), *kept, *files_of(stage.folder)]
    check_that_much_was_searched(dict(outputs))
    plants.assert_none_in(outputs)


def check_that_much_was_searched(outputs: Mapping[str, bytes]) -> None:
    """Check for all parts of the history: verdicts, dead letters, messages, traces, a refusal of the vendor."""
    assert sum("/verdict in " in name for name in outputs) == 3
    # A poll and a webhook's wake may both find the failed job before the verdict is there.
    assert 1 <= sum(name.startswith("dead/") for name in outputs) <= 2
    assert b"message.done" in outputs["work.stdout"]
    assert b"job.failed" in outputs["work.stdout"]
    assert b"task.accepted" in outputs["sandbox.stderr"]
    assert outputs["data/trace.jsonl"].count(b"\n") > 20
    assert len(outputs["data/broker.db"]) > 0
