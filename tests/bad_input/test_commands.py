"""Ordinary mistakes at the command line: one line says what is wrong and what to do, and nothing is bought or begun."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from console.cli.environment import env_lines
from console.processes.api import ApiProcess
from console.processes.handlers import HANDLERS
from console.processes.workers import Workers
from messages.codes import Code, text_of
from sandbox.cos.events import CommandSink
from sandbox.environment import Sandbox
from tests.bad_input.pictures import TEXT, jpeg
from tests.support.forked import run_console

ROOT: Final = Path(__file__).parents[2]
NOWHERE: Final = "http://127.0.0.1:9"

USAGE: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "a user with a slash": (("submit", "photo.jpg", "--user", "a/b"), ("--user must be 1 to 64 characters", "'a/b'")),
    "no user": (("submit", "photo.jpg", "--user", ""), ("--user must be 1 to 64 characters",)),
    "NaN": (("submit", "photo.jpg", "--params", '{"format":NaN}'), ("--params is no JSON",)),
    "an infinite number": (("submit", "photo.jpg", "--params", '{"format":1e999}'), ("--params is no JSON",)),
    "half a character": (("submit", "photo.jpg", "--params", '{"format":"\\ud800"}'), ("--params is no JSON",)),
    "a list of parameters": (("demo", "--params", "[]"), ("--params must be a JSON object, such as",)),
    "a parameter that there is not": (("submit", "photo.jpg", "--params", '{"bad":1}'), ("--params: ", "`bad`")),
    "a value out of range": (
        ("demo", "--kind", "basic_clean", "--params", '{"quality":0}'),
        ("--params: ", "`$.quality`"),
    ),
    "no such kind": (("submit", "photo.jpg", "--kind", "poster"), ("--kind must be one of ai_image,", "'poster'")),
    "no such broker": (("demo", "--broker", "kafka"), ("--broker must be one of sqlite, pulsar, not 'kafka'",)),
    "results into a file": (("submit", "photo.jpg", "--out", "file"), ("--out file is a file: name a folder",)),
    "results below a file": (("demo", "--out", "file/out"), ("--out file/out cannot be written", "another folder")),
    "results that nobody can write": (("demo", "--out", "/proc/out"), ("--out /proc/out cannot be written",)),
    "a folder for a photo": (("demo", "folder"), ("folder is a folder: name the photos in it",)),
    "a folder that is to be healthy": (
        ("healthy", "--file", "folder"),
        ("folder is a folder: name the worker's health file",),
    ),
    "with and without the API": (
        ("submit", "photo.jpg", "--direct", "--api", NOWHERE),
        ("--direct goes without the API", "--api"),
    ),
    "a priority through the API": (("submit", "photo.jpg", "--priority", "high"), ("--priority needs --direct",)),
    "no such priority": (
        ("submit", "photo.jpg", "--direct", "--priority", "now"),
        ("--priority must be one of high, normal, low, not 'now'",),
    ),
    "an event of a task that cannot be": (("event", "--task", "a/b"), ("--task must be 1 to 64 characters",)),
    "no such photo": (("submit", "gone.jpg"), ("gone.jpg: no such file",)),
    "data below a file": (("sandbox", "--data", "file/data"), ("--data file/data cannot be written",)),
    "an environment below a file": (("sandbox", "--env-file", "file/env"), ("--env-file file/env cannot be written",)),
    "a folder for an environment": (("sandbox", "--env-file", "folder"), ("--env-file folder cannot be written",)),
    "a word for a URL": (("sandbox", "--event-url", "foo"), ("--event-url must be a URL such as http://", "'foo'")),
    "a URL without a host": (("sandbox", "--event-url", "http://"), ("--event-url must be a URL such as",)),
    "a URL with a port that is none": (("sandbox", "--event-url", "http://h:x"), ("--event-url must be a URL",)),
    "no such event": (("invoke", "producer.sweep", "--event", "gone"), ("--event gone cannot be read: No such file",)),
    "a state that there is not": (("list", "--state", "gone"), ("--state must be one of queued, working,", "'gone'")),
    "a list since a word": (("list", "--since", "monday"), ("--since must be such as 30m, 12h, 7d", "'monday'")),
    "still since a word": (("list", "--still", "10"), ("--still must be such as 30m, 12h, 7d", "'10'")),
    "statistics since a word": (("stats", "--since", "1y"), ("--since must be such as 30m, 12h, 7d", "'1y'")),
    "a list of a user with a slash": (("list", "--user", "a/b"), ("--user must be 1 to 64 characters", "'a/b'")),
    "a task with a slash": (("show", "a/b"), ("TASK must be 1 to 64 characters", "'a/b'")),
    "an event that is no JSON": (("invoke", "producer.sweep", "--event", "file"), ("--event file is no JSON",)),
}
"""Mistake -> the command as typed, and text that its output must have."""


def environment(**changes: str) -> dict[str, str]:
    """Environment of a deployment that cannot be reached."""
    return {
        "BROKER_URL": "sqlite:///:memory:",
        "COS_BUCKET": "photos-1250000000",
        "LEDGER_BUCKET": "ledger-1250000000",
        "COS_ENDPOINT": NOWHERE,
        "BACKEND_URL": NOWHERE,
        "API_URL": NOWHERE,
        "JWT_SECRET": "the-secret-of-tokens-of-the-tests-of-commands",
        "INTERNAL_CALLBACK_SECRET": "the-callback-secret-of-the-tests-of-commands",
        "TICKET_SECRET": "the-ticket-secret-of-the-tests-of-commands",
        "MESSAGE_KEYS": "k1:*:the-message-key-of-the-tests-of-commands",
        **changes,
    }


def run(arguments: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return run_console(arguments, folder, {**kept, "PYTHONPATH": str(ROOT), **(environ or {})})


def reported(printed: str) -> str:
    """Our one line in standard error."""
    lines = [line for line in printed.splitlines() if not line.startswith("using the environment in ")]
    assert len(lines) == 1, printed
    assert lines[0].startswith("scf-workers: ")
    return lines[0]


@pytest.fixture
def terminals(tmp_path: Path) -> Path:
    """A folder with a photo, a file, a folder, and the environment that a killed sandbox left."""
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    (tmp_path / "file").touch()
    (tmp_path / "event.json").write_text("{}", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / ".sandbox").mkdir()
    (tmp_path / ".sandbox/env").write_text(env_lines(environment()), encoding="utf-8")
    (tmp_path / ".sandbox/env").chmod(0o600)
    return tmp_path


@pytest.mark.parametrize("mistake", USAGE)
def test_a_mistake_is_told_in_one_line_with_status_2(terminals: Path, mistake: str) -> None:
    arguments, expected = USAGE[mistake]
    code, out, errors = run(arguments, terminals)
    line = reported(errors)
    assert (code, out) == (2, "")
    for words in expected:
        assert words in line


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "data", HANDLERS) as opened:
        yield opened


def test_nothing_is_bought_while_a_mistake_is_left(terminals: Path, sandbox: Sandbox) -> None:
    for mistake in ("NaN", "a parameter that there is not", "results into a file", "a user with a slash"):
        code, _, errors = run(USAGE[mistake][0], terminals, sandbox.environ)
        assert code == 2
        reported(errors)
    assert sandbox.quota_account()["charged"] == 0


@pytest.mark.parametrize(
    ("way", "named"),
    [((), ("API_URL", "`scf-workers api`", "--direct")), (("--direct",), ("BACKEND_URL", "--env-file"))],
)
def test_a_submit_after_the_sandbox_is_gone_says_how_to_start_it(
    terminals: Path, way: Sequence[str], named: Sequence[str]
) -> None:
    code, _, errors = run(["submit", "photo.jpg", *way], terminals)
    line = reported(errors)
    assert code == 1
    for words in (NOWHERE, "does not answer (no connection: nothing listens there)", "`scf-workers sandbox`", *named):
        assert words in line


def test_a_submit_without_an_api_says_how_to_name_one_or_to_go_without(terminals: Path) -> None:
    code, _, errors = run(["submit", "photo.jpg"], terminals, environment(API_URL=""))
    assert code == 1
    for words in ("scf-workers: no API is known", "`scf-workers api`", "API_URL", "--api", "--direct"):
        assert words in reported(errors)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("BROKER_URL='sqlite", "no closing quotation"),
        ("A=b\\", "no escaped character"),
        ("export", "expected NAME=value"),
    ],
)
def test_an_environment_file_is_named_with_the_line_that_cannot_be_read(terminals: Path, line: str, why: str) -> None:
    (terminals / "my.env").write_text(f"A=b\n{line}\n", encoding="utf-8")
    code, _, errors = run(["sweep", "--env-file", "my.env"], terminals)
    assert code == 1
    assert f"my.env, line 2: {why}" in reported(errors)
    assert "scf-workers sandbox" not in errors


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        ("no.such.module", "No module named 'no'"),
        ("recipes.table", "module 'recipes.table' has no attribute 'main_handler'"),
        ("producer/cos_trigger.py", "modules have names such as producer.cos_trigger"),
        ("", "modules have names such as producer.cos_trigger"),
    ],
)
def test_a_handler_that_is_none_is_told_in_one_line(terminals: Path, handler: str, why: str) -> None:
    code, _, errors = run(["invoke", handler, "--event", "event.json"], terminals)
    assert code == 1
    assert reported(errors) == f"scf-workers: {handler} is no module with a main_handler: {why}"


def test_settings_that_a_handler_lacks_are_told_without_a_stack(terminals: Path) -> None:
    code, _, errors = run(["invoke", "producer.sweep", "--event", "event.json"], terminals, environment(BACKEND_URL=""))
    logged, line = errors.splitlines()
    assert code == 1
    assert line.startswith("scf-workers: set BACKEND_URL")
    assert '"event":"call.failed"' in logged
    assert "Traceback" not in errors


def test_a_handler_that_meets_an_outage_is_told_in_one_line(terminals: Path) -> None:
    code, _, errors = run(["invoke", "producer.sweep", "--event", "event.json"], terminals, environment())
    line = errors.splitlines()[-1]
    assert code == 1
    assert line.startswith("scf-workers: ")


@pytest.fixture
def wary(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a sandbox with a worker, whose trigger verifies tickets with a secret of its own."""
    with Sandbox(tmp_path / "data", HANDLERS) as opened:
        other = {**opened.environ, "TICKET_SECRET": "not-the-secret-that-the-backend-signs-with"}
        opened._sink = CommandSink(HANDLERS.cos_trigger, concurrency=1, env=other)
        with Workers(1, opened.environ, tmp_path / "workers.log"):
            yield opened.environ


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--api", "--direct"])
def test_a_picture_that_is_none_is_told_with_code_remedy_and_trace(terminals: Path, sandbox: Sandbox, way: str) -> None:
    (terminals / "text.jpg").write_bytes(TEXT)
    with Workers(1, sandbox.environ, terminals / "workers.log"), ApiProcess(sandbox.environ) as api:
        ways = {"--api": ["--api", api.url], "--direct": ["--direct"]}
        code, out, _ = run(["submit", *ways[way], "text.jpg", "--kind", "basic_clean"], terminals, sandbox.environ)
    _, ending, remedy, trace = out.splitlines()
    assert code == 1
    assert ending == f"failed: bad_picture ({text_of(Code.BAD_PICTURE)})"
    assert remedy.startswith("-> take a photo that is a JPG")
    assert re.fullmatch("trace [0-9a-f]{32}", trace)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--api", "--direct"])
def test_each_photo_is_a_task_and_their_ends_are_one_object(terminals: Path, sandbox: Sandbox, way: str) -> None:
    (terminals / "text.jpg").write_bytes(TEXT)
    with Workers(1, sandbox.environ, terminals / "workers.log"), ApiProcess(sandbox.environ) as api:
        ways = {"--api": ["--api", api.url], "--direct": ["--direct", "--priority", "high"]}
        command = ["submit", *ways[way], "text.jpg", "photo.jpg", "--kind", "basic_clean", "--json"]
        code, out, errors = run(command, terminals, sandbox.environ)
    bad, good = json.loads(out)["tasks"]
    assert code == 1, errors
    assert (bad["status"], bad["ending"]) == ("failed", f"failed: bad_picture ({text_of(Code.BAD_PICTURE)})")
    assert bad["remedy"]
    assert (good["status"], good["files"]) == ("success", [f"out/{good['task_id']}/result_01.jpg"])
    assert (terminals / good["files"][0]).exists()
    log = (terminals / "workers.log").read_text(encoding="utf-8")
    assert ('"topic":"clean-high"' in log) is (way == "--direct")


@pytest.mark.slow
def test_a_task_that_is_refused_is_told_with_its_cause_and_without_an_empty_trace(
    terminals: Path, wary: dict[str, str]
) -> None:
    code, out, errors = run(["submit", "--direct", "photo.jpg", "--wait", "8"], terminals, wary)
    assert code == 1, errors
    assert "ticket.rejected" in out.splitlines()[-1]
    assert "trace" not in out


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("work", "BACKEND_URL"),
        ("sweep", "BACKEND_URL"),
        ("submit photo.jpg", "API_URL, JWT_SECRET"),
        ("submit photo.jpg --direct", "BACKEND_URL"),
        ("cancel t1 --user u1", "BACKEND_URL"),
        ("invoke producer.sweep", "BACKEND_URL"),
    ],
)
def test_without_settings_it_is_said_where_they_come_from(tmp_path: Path, command: str, named: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    (tmp_path / "event.json").write_text("{}", encoding="utf-8")
    event = ["--event", "event.json"] if command.startswith("invoke") else []
    code, _, errors = run([*command.split(), *event], tmp_path)
    line = errors.splitlines()[-1]
    assert code == 1
    for words in ("scf-workers: set ", named, "start `scf-workers sandbox`", "--env-file"):
        assert words in line
    assert "Traceback" not in errors


def test_a_worker_whose_health_file_cannot_be_written_does_not_start(terminals: Path) -> None:
    code, _, errors = run(["work"], terminals, environment(HEALTH_FILE=str(terminals / "file/healthy")))
    assert code == 1
    assert reported(errors).startswith(f"scf-workers: HEALTH_FILE {terminals}/file/healthy cannot be written")


def test_a_broker_file_far_below_what_is_there_is_refused(terminals: Path) -> None:
    code, _, errors = run(["work"], terminals, environment(BROKER_URL=f"sqlite://{terminals}/nope/nope/x.db"))
    assert code == 1
    assert f"create the folder {terminals}/nope, or name another" in reported(errors)
    assert not (terminals / "nope").exists()


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run(["--version"], tmp_path) == (0, f"scf-workers {version('scf-workers')}\n", "")
