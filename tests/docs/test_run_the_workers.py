"""docs/how-to/run-the-workers.md against the code: its events, answers, figures and commands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from console.processes.handlers import HANDLERS
from consumers.engine.limits import limit_of
from consumers.runners.cloud_event import records_in
from consumers.runners.drain import Drained, DrainRequest
from consumers.runners.pump import groups_of
from consumers.runners.push import Pushed
from consumers.runners.time_budget import budget_of, check_reserve
from messages.bodies import Stage, Wake
from messages.codec import decode
from recipes.table import RECIPES
from runtime.errors import BadSettings
from runtime.scf import parse_request
from sandbox.environment import Sandbox
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/run-the-workers.md").read_text(encoding="utf-8")
DRAINED, TIMER, EVENT, PUSHED = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))


def _commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_the_answers_are_what_the_handlers_answer() -> None:
    msgspec.convert(DRAINED, Drained)
    assert set(DRAINED) == set(Drained.__struct_fields__)
    msgspec.convert(PUSHED, Pushed)
    assert set(PUSHED) == set(Pushed.__struct_fields__)


def test_the_event_holds_a_message() -> None:
    (record,) = records_in(EVENT)
    assert record.readable
    assert record.delivery.topic == "wake"
    assert isinstance(decode(record.delivery.payload).body, Wake)


def test_the_timers_message_narrows_the_topics() -> None:
    assert groups_of(parse_request(TIMER, DrainRequest).topics)


def test_the_topics_of_the_split_exist() -> None:
    rows = re.findall(r"^\| [^|]+ \| (`[^|]*(?:poll|clean-|generate-)[^|]*) \| ", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for row in rows:
        names = [name for words in re.findall(r"`([^`]+)`", row) for name in words.split(",")]
        assert groups_of(names)


def test_the_figures_of_the_time_limit_hold() -> None:
    reserves = {recipe.vendor: limit_of(Stage.GENERATE, recipe) for recipe in RECIPES.values() if recipe.vendor}
    reserve = reserves["runninghub"]
    words = f"its preparation included: {reserve:g} s with RunningHub, {reserves['ark']:g} s with Ark"
    assert words in " ".join(PAGE.split())
    assert "a limit below 157 s (Ark's: 352 s)" in PAGE
    check_reserve(budget_of(0.0, 352.0, 30.0), 352.0, reserves["ark"])
    check_reserve(budget_of(0.0, 157.0, 30.0), 157.0, reserve)
    with pytest.raises(BadSettings):
        check_reserve(budget_of(0.0, 155.0, 30.0), 155.0, reserve)
    assert budget_of(0.0, 900.0, 30.0).stop == 864.0


def test_make_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [command.split()[1] for command in _commands() if command.startswith("make ")]
    assert targets == ["image-check"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.slow
def test_the_drain_by_hand_works_and_leaves_nothing_running(tmp_path: Path) -> None:
    commands = _commands()
    (command,) = [command for command in commands if command.startswith("scf-workers invoke")]
    # The event's file is made as the line above says.
    subprocess.run(["bash", "-c", commands[commands.index(command) - 1]], cwd=tmp_path, check=True)
    with Sandbox(tmp_path / "data", HANDLERS) as sandbox:
        done = subprocess.run(
            [sys.executable, "-m", "console", *shlex.split(command)[1:]],
            cwd=tmp_path,
            env={**sandbox.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ended"] == "empty"
    assert "still running" not in done.stderr
