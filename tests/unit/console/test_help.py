"""Help and completion of the command line, and the sample event."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from console.cli.event import event_of
from console.cli.main import app
from console.cli.trace import newest_trace_file
from producer.cos_event import uploads_in

PHOTO = Path(__file__).parents[3] / "sandbox/photos/portrait.jpg"


@pytest.mark.parametrize("command", [[], ["submit"], ["dead"], ["dead", "list"], ["broker", "start"], ["show"]])
def test_help_has_a_short_option_everywhere(command: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*command, option]) for option in ("-h", "--help"))
    assert (short.exit_code, long.exit_code) == (0, 0)
    assert short.output == long.output
    assert "Usage: " in short.output


def _commands() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    left: list[tuple[str, Any]] = [("", get_command(app))]
    while left:
        name, command = left.pop()
        found.append((name, command))
        left += [(f"{name} {part}".strip(), one) for part, one in getattr(command, "commands", {}).items()]
    return found


def test_no_sentence_of_a_help_is_broken_into_lines() -> None:
    # Of a paragraph behind the first one, the line breaks of the docstring are shown.
    texts = {name: (command.help or "").split("\f")[0] for name, command in _commands()}
    assert len(texts) > 20
    assert [name for name, text in texts.items() if any("\n" in part for part in text.split("\n\n")[1:])] == []


@pytest.mark.parametrize("name", ["demo", "submit", "event"])
def test_no_kind_is_cut_in_sixty_columns(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "-h"], env={"COLUMNS": "60", "TERMINAL_WIDTH": "60"}).output
    assert "model_pose12" in shown
    assert "…" not in shown


def test_a_help_names_no_path_of_this_machine() -> None:
    assert str(PHOTO.parent) not in CliRunner().invoke(app, ["event", "-h"], env={"COLUMNS": "300"}).output


def test_a_shell_completes_the_commands() -> None:
    environ = {"_SCF_WORKERS_COMPLETE": "complete_bash", "COMP_WORDS": "scf-workers sw", "COMP_CWORD": "1"}
    done = CliRunner().invoke(app, [], env=environ, prog_name="scf-workers")
    assert done.output.split() == ["sweep"]


def test_the_sample_event_is_what_the_trigger_reads() -> None:
    event = event_of(PHOTO, "u-1", "t-1", {"COS_BUCKET": "mine-1250000001", "TENCENTCLOUD_REGION": "ap-shanghai"})
    (upload,), others = uploads_in(json.loads(json.dumps(event)))
    assert others == 0
    assert (upload.bucket, upload.key) == ("mine-1250000001", "input/u-1/t-1/original.jpg")
    cos = event["Records"][0]["cos"]
    assert cos["cosObject"]["size"] == PHOTO.stat().st_size
    assert (cos["cosBucket"]["cosRegion"], cos["cosObject"]["meta"]["Content-Type"]) == ("ap-shanghai", "image/jpeg")


def test_a_new_task_has_an_id_of_its_own_each_time() -> None:
    keys = {event_of(PHOTO, "u-1", "", {})["Records"][0]["cos"]["cosObject"]["key"] for _ in range(3)}
    assert len(keys) == 3


def test_the_last_trace_that_was_left_here_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert newest_trace_file() is None
    for moment, name in enumerate(["out", ".sandbox/data"]):
        Path(name).mkdir(parents=True)
        path = Path(name) / "trace.jsonl"
        path.touch()
        os.utime(path, (moment, moment))
        assert newest_trace_file() == path
