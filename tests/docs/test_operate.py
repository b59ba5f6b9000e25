"""docs/how-to/operate.md, done as it says: each command of its table, with the figures of the quota account."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import Any, Final

import pytest
import typer

from console.cli.main import app
from tests.docs.pages import blocks_of, text_of
from tests.docs.test_commands import Reader
from tests.support.patience import PATIENCE_S

PAGE: Final = "docs/how-to/operate.md"
TASKS: Final = 6
FAILED: Final = 2
QUESTIONS: Final = re.findall(r"^\|[^|]+\| `(scf-workers [^`]+)`", text_of(PAGE), re.MULTILINE)
"""The commands of the table, in their order."""
STEPS: Final = [
    line.removeprefix("$ ")
    for block in blocks_of(PAGE)
    if block.language == "console"
    for line in block.text.splitlines()
]
SHOWN: Final = [block.text for block in blocks_of(PAGE) if block.language == "text"]


def test_every_command_of_the_table_has_the_options_that_it_is_given() -> None:
    group: Any = typer.main.get_command(app)
    assert {"list", "show", "stats", "topics", "workers"} <= {question.split()[1] for question in QUESTIONS}
    for question in QUESTIONS:
        _, name, *words = question.split()
        command = group.commands[name]
        command = command.commands[words[0]] if name == "dead" else command
        options = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("--")} | {"--json", "--env-file"} <= options


def account(reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reader.do('. .sandbox/env; curl --silent "$BACKEND_URL/_sandbox/quota"'))
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_walk(reader: Reader) -> None:
    environment, fault, sell, refunded, quota, stats, *pausing = STEPS
    pause, waiting, resume = pausing
    assert reader.do(pause).split()[:3] == SHOWN[2].split()[:3]
    reader.do(f"{environment}\n{fault}")
    reader.do(sell)
    judge_paused(reader, waiting)
    reader.do(resume)
    ends = time.monotonic() + 3 * PATIENCE_S
    while reader.ask("scf-workers stats")["total"] != TASKS:
        assert time.monotonic() < ends
        time.sleep(1)
    judge(reader)
    lines = reader.do(refunded).splitlines()
    assert (len(lines), lines[-1]) == (FAILED + 2, "2 tasks")
    assert lines[0].split() == SHOWN[0].splitlines()[0].split()
    assert reader.do(f"{environment}\n{quota}").strip() == f'"charged":{TASKS},"refunded":{FAILED}'
    figures = reader.do(stats).splitlines()
    assert [line.split() for line in figures[:4]] == [line.split() for line in SHOWN[1].splitlines()[:4]]
    assert figures[-1] == SHOWN[1].splitlines()[-1]
    for question in QUESTIONS:
        reader.do(question)


def judge_paused(reader: Reader, waiting: str) -> None:
    """Wait until every task is held up, and compare each screen with that."""
    ends = time.monotonic() + 3 * PATIENCE_S
    while [row["why"] for row in reader.ask(waiting)["tasks"]] != ["paused"] * TASKS:
        assert time.monotonic() < ends
        time.sleep(1)
    task = reader.ask(waiting)["tasks"][0]["task"]
    (paused,) = reader.ask("scf-workers pauses")["paused"]
    assert (paused["of"], paused["name"], paused["why"]) == ("vendor", "runninghub", "invoice is checked")
    assert reader.ask(f"scf-workers show {task}")["paused"] == paused
    for screen in ("topics", "workers"):
        assert reader.ask(f"scf-workers {screen}")["paused"] == [paused]


def judge(reader: Reader) -> None:
    """Compare every answer with the quota account."""
    book = account(reader)
    refunds = {task["task_id"] for task in book["tasks"] if task["refunds"]}
    assert (book["charged"], book["refunded"], len(refunds)) == (TASKS, FAILED, FAILED)
    rows = reader.ask("scf-workers list --user u-1024 --since 7d")["tasks"]
    assert {row["task"] for row in rows} == {task["task_id"] for task in book["tasks"]}
    assert {row["task"] for row in rows if row["refunded"]} == refunds
    assert {row["task"] for row in reader.ask("scf-workers list --refunded")["tasks"]} == refunds
    assert reader.ask("scf-workers list --still 10m")["tasks"] == []
    counts: Counter[str] = Counter()
    for one in reader.ask("scf-workers stats --since 24h")["counts"]:
        counts[one["state"]] += one["tasks"]
    assert counts == {"success": TASKS - FAILED, "failed": FAILED}
    for task in book["tasks"][:2]:
        shown = reader.ask(f"scf-workers show {task['task_id']}")
        assert (shown["state"], shown["refunded"]) == (task["status"], bool(task["refunds"]))
        reader.words["TASK_ID"] = task["task_id"]
    ends = time.monotonic() + 3 * PATIENCE_S
    while not _is_quiet(reader):
        assert time.monotonic() < ends
        time.sleep(1)


def _is_quiet(reader: Reader) -> bool:
    """Return True once no message is due and the worker has reported its work, which it does every 15 seconds."""
    ready = sum(topic["ready"] for topic in reader.ask("scf-workers topics")["topics"])
    workers = [one for one in reader.ask("scf-workers workers")["processes"] if one["groups"]]
    return not ready and [one["silent"] for one in workers] == [False] and workers[0]["ended"].get("done", 0) >= TASKS
