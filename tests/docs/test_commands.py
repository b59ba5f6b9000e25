"""Every command that the documentation gives, run as a reader would run it: one stand-in harness for all of them.

A new command is run without being named here, and must end with status 0. One that cannot be run here stands in
`ELSEWHERE` with its reason.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from console.cli.demo.injections import INJECTIONS
from console.cli.main import app
from tests.docs.pages import PAGES, ROOT, WALKS, commands_of, inline_of
from tests.support.patience import PATIENCE_S

BY_CI: Final = "CI runs it"
ELSEWHERE: Final[Mapping[str, str]] = {
    "make setup": BY_CI,
    "make lint": BY_CI,
    "make test": BY_CI,
    "make demo": BY_CI,
    "make chaos SECONDS=60 TASKS=30 KINDS=basic_clean,model_pose12": BY_CI,
    "make chaos BROKER=pulsar SEED=7": "minutes, and as above",
    "make chaos": "as above",
    "make demo PHOTO=path/to/photo.jpg": "as `make demo`; tests/bad_input runs the demo on photos",
    'make test TEST_ARGS="-k ledger"': "as `make test`",
    "make test-quick": "a part of `make test`",
    "make test-random": "the property tests of `make test`, with other examples",
    "make test-pulsar": "a part of `make test`",
    "make test-long": "minutes for one statement",
    "make test-busy": "tests of `make test`, ten times",
    "make simulate SEEDS=2000": "minutes; tests/simulation plays fewer",
    "make simulate-replays SEEDS=2000": "as above",
    "make simulate SEED=123": "as above",
    "make simulate SEED=123 TASK=task04": "as above",
    "make simulate DEFECT=early_ack SEEDS=500": "as above",
    "make format": "changes files, and `make lint` fails where it would",
    "make image-check": "builds with a Python of its own, for minutes; tests/deploy looks at the steps",
    "docker compose up --build --detach --wait": "needs a Docker engine; tests/deploy reads the file",
    "docker compose run --rm client submit photos/portrait.jpg": "as above",
    "python -m bench video_memory": "a minute; tests/repo/test_bench.py runs a part of it",
    "python -m runtime.image": "a server for the platform, which the tests of runtime.image start and call",
    "python -m runtime.image MODULE": "as above",
    'scf-workers erase USER_ID --yes --why "request of the user"': "tests/docs/test_erase_a_user.py runs it",
    "scf-workers erase USER_ID --yes --cancel": "as above",
    "make bench": "measures nothing while tests run beside it; tests/repo holds its parts together",
    "scf-workers demo --tasks 6 --inject files-down": "a minute of outage; tests/e2e has a shorter one",
    "python -m bench queueing": "a minute of work; tests/engine holds its cases, one by one",
    "python -m bench store_errors": "as above",
    "python -m bench api": "minutes of work; tests/api holds its parts",
}
"""Command -> why it is not run here; its arguments are checked."""

ON_PULSAR: Final = (
    "scf-workers broker start",
    "scf-workers broker status",
    "scf-workers demo --broker pulsar --tasks 3 --json",
    "scf-workers broker stop",
)
"""Commands that need a Pulsar: tests/pulsar/test_commands.py runs them."""

SANDBOX_ON_PULSAR: Final = "scf-workers sandbox --broker pulsar"
"""The first of three terminals on Pulsar: tests/pulsar/test_terminals.py opens them."""

BACKGROUND: Final[Mapping[str, str]] = {
    "scf-workers sandbox": "environment in",
    "scf-workers work": "worker.started",
}
"""Commands that run until Ctrl-C -> what they say when they are ready."""

HEALTH_FILE: Final = dict(
    code.split("=") for code in inline_of("docs/how-to/run-the-workers.md") if code.startswith("HEALTH_FILE=")
)
ENVIRONS: Final[Mapping[str, Mapping[str, str]]] = {
    "scf-workers work": HEALTH_FILE,
    "scf-workers healthy": HEALTH_FILE,
}
"""Command -> variables that its page says to set for it."""

WITHOUT_WORKERS: Final = ("scf-workers cancel TASK_ID --user USER_ID",)
"""Commands about a task that has not ended."""

SUBMIT_AND_LEAVE: Final = "scf-workers submit sandbox/photos/portrait.jpg --wait 0"


class Reader:
    """A reader at a terminal, in a folder like the project's, who has run exactly the commands read so far.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.words = {"USER_ID": "u-1024"}
        """Value in place of a word in capitals."""
        self._exports: list[str] = []
        self._running: dict[str, ExitStack] = {}
        (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
        (folder / "sandbox").symlink_to(ROOT / "sandbox")
        shutil.copy(ROOT / ".pre-commit-config.yaml", folder)
        subprocess.run(["git", "init", "--quiet", folder], check=True)

    def do(self, command: str, folder: Path | None = None, **environ: str) -> str:
        """Run a command. Returns what it printed."""
        self.ran.append(command)
        if command.startswith("export "):
            self._exports.append(command)
            return ""
        if command in BACKGROUND:
            stack = ExitStack()
            stack.enter_context(self._started(command))
            self._running[command] = stack
            return ""
        argv = self._argv(re.sub(r"\b[A-Z]+_ID\b", lambda word: self.words[word[0]], command))
        env = {**_environ(), **ENVIRONS.get(command, {}), **environ}
        done = subprocess.run(
            argv, cwd=folder or self.folder, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        for name, found in re.findall(r"^(task|trace) ([0-9a-f]{32})", done.stdout, re.MULTILINE):
            self.words[f"{name.upper()}_ID"] = found
        return done.stdout

    def ask(self, command: str) -> dict[str, Any]:
        """Run a command with `--json`. Returns the document that it printed."""
        found: dict[str, Any] = json.loads(self.do(f"{command} --json").splitlines()[-1])
        return found

    def stop(self, command: str) -> None:
        """Press Ctrl-C in its terminal."""
        self._running.pop(command).close()

    def close(self) -> None:
        for command in reversed([*self._running]):
            self.stop(command)

    def _argv(self, command: str) -> list[str]:
        return ["bash", "-c", "\n".join([*self._exports, command])]

    @contextmanager
    def _started(self, command: str) -> Iterator[None]:
        log = self.folder / f"{command.rpartition(' ')[2]}.log"
        with log.open("wb") as out:
            env = {**_environ(), **ENVIRONS.get(command, {})}
            process = subprocess.Popen(self._argv(f"exec {command}"), cwd=self.folder, env=env, stdout=out, stderr=out)
        try:
            _until(lambda: BACKGROUND[command] in log.read_text(encoding="utf-8"), f"`{command}` ready")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE_S) == 0, log.read_text(encoding="utf-8")[-2000:]


def _environ() -> dict[str, str]:
    return {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}


def _until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:g} s"
        time.sleep(0.05)


def commands() -> list[str]:
    """Every command of every page that is not a walk-through, in the order of reading."""
    return list(dict.fromkeys(command for page in PAGES if page not in WALKS for command in commands_of(page)))


def test_the_pages_give_the_commands_that_they_should() -> None:
    given = commands()
    assert set(ELSEWHERE) <= set(given), "a command in ELSEWHERE is in no page"
    assert {*BACKGROUND, *WITHOUT_WORKERS} <= set(given)
    names = {shlex.split(command)[1] for command in given if command.startswith("scf-workers ")}
    assert {"demo", "sandbox", "work", "submit", "trace", "doctor", "sweep", "cancel"} <= names


MAKE: Final = [command for command in ELSEWHERE if command.startswith("make ")]


@pytest.mark.parametrize("command", [command for command in ELSEWHERE if command not in MAKE])
def test_what_a_command_that_is_run_elsewhere_names_is_there(command: str) -> None:
    match shlex.split(command):
        case ["python", "-m", module, *_]:
            assert find_spec(module) is not None
        case ["docker", "compose", "run", "--rm", service, *_]:
            assert service in yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
        case ["docker", "compose", *_]:
            assert (ROOT / "compose.yaml").exists()
        case ["scf-workers", "demo", *_, "--inject", name]:
            assert name in INJECTIONS
        case ["scf-workers", name, *words]:
            group: Any = typer.main.get_command(app)
            known = {option for param in group.commands[name].params for option in param.opts}
            assert {word for word in words if word.startswith("--")} <= known
        case _:
            pytest.fail(f"nobody knows how to look at {command}")


@pytest.mark.parametrize("command", MAKE)
def test_a_target_that_is_run_elsewhere_exists(command: str) -> None:
    make, target, *variables = shlex.split(command)
    done = subprocess.run([make, "--dry-run", target, *variables], cwd=ROOT, capture_output=True, text=True, check=True)
    for name, _, value in (variable.partition("=") for variable in variables):
        # The value itself, or a variable of the environment, which stays one word.
        assert value in done.stdout or f'"${name}"' in done.stdout
    if ELSEWHERE[command] is BY_CI:
        assert re.search(rf"^(?:part \w+ )?{command}\b", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.slow
def test_every_other_command_works(reader: Reader) -> None:
    for command in commands():
        if command in {*ELSEWHERE, *ON_PULSAR, SANDBOX_ON_PULSAR, *WITHOUT_WORKERS}:
            continue
        reader.do(command)
    reader.stop("scf-workers work")
    for command in WITHOUT_WORKERS:
        reader.do(SUBMIT_AND_LEAVE)
        reader.do(command)
    assert set(commands()) == {*reader.ran, *ELSEWHERE, *ON_PULSAR, SANDBOX_ON_PULSAR} - {SUBMIT_AND_LEAVE}
