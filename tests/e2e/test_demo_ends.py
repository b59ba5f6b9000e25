"""The demo as a process: whatever ends it, no worker stays behind; and photos with odd names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from console.cli.environment import env_lines
from console.processes.handlers import HANDLERS
from sandbox.environment import Sandbox

ROOT: Final = Path(__file__).parents[2]
PHOTO: Final = ROOT / "sandbox/photos/portrait.jpg"
WORK: Final = b"\0work\0"


def environ() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def workers_of(parent: int) -> set[int]:
    """Running processes of one demo."""
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
            stat = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if line.endswith(WORK) and stat[0] != "Z" and int(stat[1]) == parent:
            found.add(int(folder.name))
    return found


def until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:g} s"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_demo(tmp_path: Path, number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "console", "demo", "--tasks", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, cwd=tmp_path, env=environ(), **quiet) as demo:
        workers: set[int] = set()
        try:
            until(lambda: len(workers_of(demo.pid)) == 2, "two workers")
            workers = workers_of(demo.pid)
            demo.send_signal(number)
            demo.wait(timeout=90)
            until(lambda: not any(map(is_alive, workers)), "the end of both workers")
        finally:
            demo.kill()
            for pid in filter(is_alive, workers):
                os.kill(pid, signal.SIGKILL)
    assert demo.returncode == (-number if number == signal.SIGKILL else 128 + number)


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ("a b.jpg", ["demo", "--kind", "basic_clean", "--", "a b.jpg"]),
        ('it\'s; echo "x".jpg', ["demo", "--kind", "basic_clean", "--", 'it\'s; echo "x".jpg']),
        ("-dash.jpg", ["demo", "--kind", "basic_clean", "--", "-dash.jpg"]),
        ("", ["demo", "--kind", "basic_clean"]),
    ],
)
def test_make_demo_hands_over_a_photo_as_one_word(tmp_path: Path, photo: str, expected: list[str]) -> None:
    (tmp_path / "scf-workers").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    (tmp_path / "scf-workers").chmod(0o755)
    argv = ["make", "-s", "-o", ".venv/.ready", "demo", f"RUN={tmp_path}", "DEMO_ARGS=--kind basic_clean"]
    done = subprocess.run(
        [*argv, f"PHOTO={photo}"], cwd=ROOT, env=environ(), capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == expected, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_pump_starts_and_works_with_a_full_standard_error(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with Sandbox(tmp_path / "data", HANDLERS) as sandbox, Path("/dev/full").open("wb") as full:
        (tmp_path / ".sandbox").mkdir()
        file = tmp_path / ".sandbox/env"
        file.touch(mode=0o600)
        values = {name: value for name, value in sandbox.environ.items() if name not in environ()}
        file.write_text(env_lines(values), encoding="utf-8")
        health = tmp_path / "health"
        with file.open("a", encoding="utf-8") as more:
            more.write(f"HEALTH_FILE={health}\n")
        argv = [sys.executable, "-m", "console", "work"]
        with subprocess.Popen(argv, cwd=tmp_path, env=environ(), stdout=subprocess.DEVNULL, stderr=full) as pump:
            until(lambda: health.exists() or pump.poll() is not None, "a pump that takes work")
            assert pump.poll() is None
            pump.terminate()
            assert pump.wait(timeout=60) == 0
