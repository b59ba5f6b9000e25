"""docs/how-to/replay-dead-letters.md, done as it says; and once more with a `kill -9` of the replay half-way."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any, Final

import pytest
import typer

from console.cli.dead.commands import dead_app
from tasks.dead_letters.plan import Action, Refusal
from tests.docs.pages import blocks_of, text_of
from tests.docs.test_commands import Reader
from tests.support.patience import PATIENCE_S

PAGE: Final = "docs/how-to/replay-dead-letters.md"
TASKS: Final = 20
COMMANDS: Final = [
    line.removeprefix("$ ")
    for block in blocks_of(PAGE)
    if block.language == "console"
    for line in block.text.splitlines()
]
"""In their order; one is given twice."""
SHOWN: Final = [block.text for block in blocks_of(PAGE) if block.language == "text"]


def test_the_options_are_those_of_the_commands() -> None:
    group: Any = typer.main.get_command(dead_app)
    for line in SHOWN[0].splitlines():
        _, _, name, *words = line.split()
        command = group.commands[name]
        known = {option for param in command.params for option in param.opts if option.startswith("--")}
        shown = set(re.findall(r"--[a-z-]+", " ".join(words)))
        assert shown <= known
        assert known - shown <= {"--env-file", "--dry-run", "--since", "--kind", "--code"}


def test_every_effect_and_refusal_is_on_the_page() -> None:
    table = text_of(PAGE).partition("## What a replay does")[2]
    for word in (*Action, *Refusal):
        assert f"`{word}`" in table


def until(reader: Reader, command: str, part: str, count: int) -> dict[str, Any]:
    """Repeat a command until a list in its answer has this length, and as long as the answer changes."""
    states: list[tuple[Any, ...]] | None = None
    ends = 0.0
    while len((found := reader.ask(command))[part]) != count or not _is_settled(found[part]):
        now = sorted((row.get("now", ""), row.get("count", 0), row.get("refunded", True)) for row in found[part])
        if now != states:
            states, ends = now, time.monotonic() + PATIENCE_S
        assert time.monotonic() < ends, states
        time.sleep(1)
    return found


def _is_settled(rows: list[dict[str, Any]]) -> bool:
    """Return True if no letter's last run is active, and every failure is refunded."""
    return all(not row.get("now", "").endswith("at work") and row.get("refunded", True) for row in rows)


def quota(reader: Reader) -> dict[str, Any]:
    address = f". .sandbox/env; curl --silent {json.dumps('$BACKEND_URL')}/_sandbox/quota"
    found: dict[str, Any] = json.loads(reader.do(address))
    return found


def judge(reader: Reader) -> None:
    """Twenty successes; each charged, refunded and charged again; each callback names its run and is signed."""
    letters = until(reader, "scf-workers dead list", "letters", TASKS)["letters"]
    assert {(row["now"], row["verdict"]) for row in letters} == {("run 1 success", "failed")}
    audits = [audit for row in letters for audit in row["replays"]]
    wanted = [("new_run", 1, "the vendor is mended")] * TASKS
    assert [(audit["action"], audit["run"], audit["why"]) for audit in audits] == wanted
    assert all(audit["by"] for audit in audits)
    account = quota(reader)
    assert (account["charged"], account["refunded"]) == (2 * TASKS, TASKS)
    assert not account["strays"]
    for task in account["tasks"]:
        assert (task["status"], task["charges"], task["refunds"], task["run"]) == ("success", 2, 1, 1)
        # A slow backend may be called twice; each call says the same.
        calls = {(call["run"], call["status"], call["http_status"], call["signature_ok"]) for call in task["callbacks"]}
        assert calls == {(0, "failed", 200, True), (1, "success", 200, True)}


def break_and_sell(reader: Reader) -> list[str]:
    """Run the commands of the walk-through up to the first list of groups. Returns the commands after that."""
    commands = list(COMMANDS)
    environment = commands.pop(0)
    for command in commands[:2]:
        reader.do(f"{environment}\n{command}")
    (group,) = until(reader, commands[2], "groups", 1)["groups"]
    ends = time.monotonic() + 3 * PATIENCE_S
    while (group["count"], group["refunded"]) != (TASKS, TASKS):
        assert time.monotonic() < ends, group
        time.sleep(1)
        (group,) = until(reader, commands[2], "groups", 1)["groups"]
    assert (group["kinds"], group["code"], group["replayed"]) == (["model_pose12"], "vendor_failed", 0)
    columns = reader.do(commands[2]).splitlines()[0].split()
    assert columns == SHOWN[1].splitlines()[0].split()
    reader.do(f"{environment}\n{commands[3]}")
    return commands[4:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_walk(reader: Reader) -> None:
    dry, replay, again, account, purge = break_and_sell(reader)
    lines = reader.do(dry).splitlines()
    assert len(lines) == TASKS + 1
    assert lines[-1] == SHOWN[2].splitlines()[-1]
    assert lines[0].partition("run 1: ")[2] == SHOWN[2].splitlines()[0].partition("run 1: ")[2]
    assert quota(reader)["charged"] == TASKS, "a dry run charges nothing"
    reader.do(replay)
    judge(reader)
    assert again == dry
    assert reader.do(again).splitlines()[-1] == SHOWN[3].strip()
    assert reader.do(f". .sandbox/env\n{account}").strip() == SHOWN[4].strip()
    assert reader.do(purge).splitlines()[-1].startswith(f"dry run: would purge {TASKS}")
    reader.do(f"{purge} --yes")
    assert reader.ask("scf-workers dead list") == {"letters": []}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_walk_with_a_kill_of_the_replaying_command_half_way(reader: Reader) -> None:
    _, replay, *_ = break_and_sell(reader)
    log = reader.folder / "replay.log"
    with log.open("wb") as out:
        argv = ["bash", "-c", f'export PATH="$PWD/.venv/bin:$PATH"; exec {replay}']
        process = subprocess.Popen(argv, cwd=reader.folder, stdout=out, stderr=subprocess.DEVNULL)
    while log.read_text(encoding="utf-8").count("\n") < TASKS // 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = log.read_text(encoding="utf-8").count("\n")
    assert TASKS // 2 <= done < TASKS
    reader.do(replay)
    judge(reader)
