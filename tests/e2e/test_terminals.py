"""Two terminals: `scf-workers sandbox` in one, `scf-workers work` in the other, and a client in a third."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from console.cli.environment import read_env_file
from tests.support.patience import PATIENCE_S

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = PATIENCE_S

pytestmark = pytest.mark.slow


class Terminal:
    """A command that runs until it is stopped, and its output."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def stop(self, number: signal.Signals) -> int:
        """Its exit status after a signal."""
        self._process.send_signal(number)
        return self._process.wait(LIMIT_S)


class Terminals:
    """A folder with terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self._processes: list[subprocess.Popen[bytes]] = []

    def open(self, *arguments: str) -> Terminal:
        self._count += 1
        log = self.folder / f"terminal{self._count}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(_argv(arguments), cwd=self.folder, env=_environ(), stdout=out, stderr=out)
        self._processes.append(process)
        return Terminal(process, log)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _argv(arguments),
            cwd=self.folder,
            env=_environ(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def _argv(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "console", *arguments]


def _environ() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT)}


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.02)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    with Image.open(ROOT / "sandbox/photos/portrait.jpg") as picture:
        picture.resize((150, 200)).save(tmp_path / "photo.jpg")
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()


@contextmanager
def sandbox(terminals: Terminals, *options: str) -> Iterator[dict[str, str]]:
    """The stand-ins and their environment; Ctrl-C must end them well and take the file away."""
    terminal = terminals.open("sandbox", "--duration", "1", *options)
    until(lambda: "environment in" in terminal.said, "the sandbox")
    file = terminals.folder / ".sandbox/env"
    # Pulsar makes its own, inside a folder that is closed like the others.
    kept = [path for path in file.parent.rglob("*") if not path.is_symlink() and path.parent.name != "pulsar"]
    assert len(kept) > 5
    assert [path for path in kept if path.stat().st_mode & 0o077] == []
    yield read_env_file(file)
    assert terminal.stop(signal.SIGINT) == 0
    assert not file.exists()


def work(terminals: Terminals) -> Terminal:
    terminal = terminals.open("work")
    until(lambda: "worker.started" in terminal.said, "the worker")
    return terminal


def book(environ: dict[str, str]) -> Any:
    with urllib.request.urlopen(f"{environ['BACKEND_URL']}/_sandbox/quota", timeout=10) as answer:  # noqa: S310 - ours
        return json.load(answer)


def test_two_terminals_and_a_worker_that_is_asked_to_leave_amid_its_work(terminals: Terminals) -> None:
    with sandbox(terminals) as environ:
        for _ in range(2):
            bought = terminals.run("submit", "photo.jpg", "--wait", "0")
            assert (bought.returncode, "uploaded photo.jpg" in bought.stdout) == (0, True), bought.stderr
        first = work(terminals)
        until(lambda: "message.done" in first.said, "its first message")
        assert first.stop(signal.SIGTERM) == 0
        assert "worker.stopped" in first.said
        second = work(terminals)
        done = terminals.run("submit", "photo.jpg", "--out", "results")
        assert done.returncode == 0, done.stderr
        assert "success: 12 files in results/" in done.stdout
        until(lambda: not any(row["status"] == "pending" for row in book(environ)["tasks"]), "a verdict for each")
        found = book(environ)
        assert (found["charged"], found["refunded"]) == (3, 0)
        assert [[call["status"] for call in row["callbacks"]] for row in found["tasks"]] == [["success"]] * 3
        assert second.stop(signal.SIGINT) == 0
    assert len(list((terminals.folder / "results").glob("*/frame_*.jpg"))) == 12


def test_a_second_sandbox_leaves_the_first_one_alone(terminals: Terminals) -> None:
    with sandbox(terminals) as environ:
        pid = (terminals.folder / ".sandbox/data/sandbox.pid").read_text(encoding="utf-8").strip()
        second = terminals.run("sandbox")
        assert (second.returncode, "Traceback" in second.stderr) == (2, False)
        assert f"--data .sandbox/data: a sandbox runs there already (pid {pid})" in second.stderr
        other = terminals.run("sandbox", "--data", "other")
        assert (other.returncode, "--env-file .sandbox/env: a sandbox runs there" in other.stderr) == (2, True)
        assert read_env_file(terminals.folder / ".sandbox/env") == environ
        beside = terminals.open("sandbox", "--data", "other", "--env-file", "other.env")
        until(lambda: "environment in other.env" in beside.said, "another sandbox")
        assert beside.stop(signal.SIGTERM) == 0
        bought = terminals.run("submit", "photo.jpg", "--wait", "0")
        assert bought.returncode == 0, bought.stderr
    with sandbox(terminals) as again:
        # A client of the first sandbox finds the next one.
        assert again == environ
