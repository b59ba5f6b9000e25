"""The commands of README.md, run in the order in which a reader would."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def _commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def _until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:g} s"
        time.sleep(0.05)


@contextmanager
def _running(command: str, folder: Path, ready: Callable[[str], bool]) -> Iterator[None]:
    log = folder / f"{shlex.split(command)[1]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(shlex.split(command), cwd=folder, env=_environ(), stdout=out, stderr=out)
    try:
        _until(lambda: ready(log.read_text(encoding="utf-8")), f"`{command}` ready")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 0, log.read_text(encoding="utf-8")[-2000:]


def _environ() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def test_make_commands_exist_and_ci_runs_them() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    targets = [command.split()[1] for command in _commands() if command.startswith("make ")]
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        assert re.search(rf"^make {target}\b", ci, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_other_command_works_in_order(tmp_path: Path) -> None:
    (tmp_path / "sandbox").symlink_to(ROOT / "sandbox")
    ran: list[str] = []
    background = {
        "scf-workers sandbox": lambda log: "environment in" in log,
        "scf-workers work": lambda log: "worker.started" in log,
    }

    def run(commands: list[str]) -> None:
        if not commands:
            return
        command, rest = commands[0], commands[1:]
        ran.append(command)
        if command in background:
            with _running(command, tmp_path, background[command]):
                run(rest)
            return
        if not command.startswith(("make ", "export ")):
            done = subprocess.run(
                shlex.split(command), cwd=tmp_path, env=_environ(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        run(rest)

    run(_commands())
    assert {"scf-workers sandbox", "scf-workers work"} <= set(ran)
    assert any(command.startswith("scf-workers submit") for command in ran)
