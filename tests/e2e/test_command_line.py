"""The command line as a person uses it: real processes from upload to callback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from console.processes.handlers import HANDLERS
from sandbox.environment import Sandbox
from tests.support.forked import run_console
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "sandbox/photos/portrait.jpg"
COMMAND = (sys.executable, "-m", "console")

HANDLER = """
import time

def _raise():
    raise RuntimeError("no use")

ACTS = {"answer": lambda: {"sum": 3}, "raise": _raise, "hang": lambda: time.sleep(60)}

def main_handler(event, context):
    if event["act"] == "leave":
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        return "left"
    assert context["time_limit_in_ms"] > 0
    return ACTS[event["act"]]()
"""


def _environ(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def _run(arguments: Sequence[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=_environ(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
    )


def _until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:g} s"
        time.sleep(0.05)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "a.jpg", tmp_path / "b.png", tmp_path / "c.webp"]
    with Image.open(PHOTO) as picture:
        small = picture.resize((300, 400))
        for path in made:
            small.save(path)
    return made


@pytest.mark.slow
def test_the_demo_takes_photos_in_turn_and_the_book_balances(tmp_path: Path, photos: list[Path]) -> None:
    done = _run(["demo", *map(str, photos), "--tasks", "4", "--json", "--out", "results"], tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["broker"] == "sqlite"
    assert report["quota"] == {"charged": 4, "refunded": 0}
    assert len({task["task_id"] for task in report["tasks"]}) == 4
    assert len({task["trace_id"] for task in report["tasks"]}) == 4
    for task in report["tasks"]:
        assert (task["status"], task["error"], task["kind"]) == ("success", None, "model_pose12")
        names = [f"output/{task['user_id']}/{task['task_id']}/frame_{n:02d}.jpg" for n in range(1, 13)]
        assert task["outputs"] == names
        assert len({(tmp_path / path).read_bytes() for path in task["files"]}) == 12
        assert [(call["status"], call["signature_ok"], call["http_status"]) for call in task["callbacks"]] == [
            ("success", True, 200)
        ]
        assert task["vendor_calls"]["create"] == 1
        assert task["vendor_calls"]["query"] >= 1
    with Image.open(tmp_path / "results/contact_sheet.jpg") as sheet:
        assert sheet.width > 1000


@pytest.mark.slow
def test_the_demo_does_the_other_kind_too(tmp_path: Path, photos: list[Path]) -> None:
    done = _run(["demo", *map(str, photos), "--kind", "basic_clean", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    # Without a terminal: lines as the tasks go on, then the report, and nothing of the logs.
    begun = {line.partition("  ")[2] for line in done.stderr.splitlines() if "uploading" in line}
    assert begun == {"uploading a.jpg", "uploading b.png", "uploading c.webp"}
    assert not {"{", "\x1b", "█"} & set(done.stderr)
    names = [Path(task["outputs"][0]).name for task in report["tasks"]]
    assert names == ["result_01.jpg", "result_01.png", "result_01.webp"]
    assert report["quota"] == {"charged": 3, "refunded": 0}


@pytest.fixture
def slow_world(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "data", HANDLERS, duration_s=6.0, webhook=False) as sandbox:
        yield sandbox


def _work(sandbox: Sandbox, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        process = subprocess.Popen([*COMMAND, "work"], cwd=log.parent, env=sandbox.environ, stdout=out, stderr=out)
    _until(lambda: "worker.started" in log.read_text(encoding="utf-8"), "a worker that has started")
    return process


def _is_done(stage: str, log: Path) -> bool:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return any(line["event"] == "message.done" and line.get("stage") == stage for line in lines)


@pytest.mark.slow
def test_a_worker_killed_while_the_vendor_works_costs_nothing(slow_world: Sandbox, tmp_path: Path) -> None:
    first = _work(slow_world, tmp_path / "first.log")
    with (tmp_path / "submit.log").open("wb") as out:
        client = subprocess.Popen(
            [*COMMAND, "submit", "--direct", str(PHOTO), "--out", "results"],
            cwd=tmp_path,
            env=slow_world.environ,
            stdout=out,
            stderr=out,
        )
    _until(lambda: slow_world.vendor_stats()["creates"] == 1, "a paid call")
    # Until then a kill costs the stage's whole limit, because no other process can know that its process is dead.
    _until(lambda: _is_done("generate", tmp_path / "first.log"), "a generate that is done")
    first.kill()
    first.wait()
    second = _work(slow_world, tmp_path / "second.log")
    assert client.wait(timeout=90) == 0, (tmp_path / "submit.log").read_text(encoding="utf-8")
    assert len(list((tmp_path / "results").glob("*/frame_*.jpg"))) == 12
    assert slow_world.vendor_stats()["creates"] == 1
    book = slow_world.quota_account()
    assert (book["charged"], book["refunded"]) == (1, 0)
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=PATIENCE_S) == 0
    assert "worker.stopped" in (tmp_path / "second.log").read_text(encoding="utf-8")


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    (tmp_path / "handlers.py").write_text(HANDLER, encoding="utf-8")
    return tmp_path


def _invoke(folder: Path, act: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "event.json").write_text(json.dumps({"act": act}), encoding="utf-8")
    more = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return _run(["invoke", "handlers", "--event", "event.json", *options], folder, **more)


def test_invoke_prints_what_the_handler_returns(handlers: Path) -> None:
    done = _invoke(handlers, "answer")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"sum": 3})


def test_invoke_tells_what_the_handler_raised(handlers: Path) -> None:
    done = _invoke(handlers, "raise")
    assert done.returncode == 1
    assert "RuntimeError" in done.stderr


def test_invoke_ends_a_handler_at_its_time_limit(handlers: Path) -> None:
    done = _invoke(handlers, "hang", "--time-limit", "1")
    assert done.returncode == 124
    assert "killed after 1 s" in done.stderr


def test_invoke_reports_what_a_handler_leaves_running(handlers: Path) -> None:
    done = _invoke(handlers, "leave")
    assert done.returncode == 0
    assert "still running at return, killed: process" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["demo", "nowhere.jpg"], "nowhere.jpg"),
        (["demo", "event.json"], "extension"),
        (["demo", "--kind", "poster"], "--kind"),
        (["demo", "--params", "{"], "--params"),
        (["demo", "--params", "[]"], "--params"),
        (["demo", "--params", '{"promt": "x"}'], "promt"),
        (["submit", "nowhere.jpg"], "nowhere.jpg"),
        (["invoke", "producer.cos_trigger", "--event", "nowhere.json"], "nowhere.json"),
        (["work", "no-such-topic", "--env-file", "env"], "no-such-topic"),
    ],
)
def test_bad_usage_is_said_with_the_option_and_status_2(tmp_path: Path, arguments: list[str], named: str) -> None:
    (tmp_path / "event.json").write_text("{}", encoding="utf-8")
    secrets = {"INTERNAL_CALLBACK_SECRET": "x" * 40, "TICKET_SECRET": "y" * 40}
    names = {"COS_BUCKET": "b-1", "LEDGER_BUCKET": "l-1", "BACKEND_URL": "http://127.0.0.1:9"}
    lines = {**names, "BROKER_URL": f"sqlite://{tmp_path}/broker.db", **secrets, "MESSAGE_UNSIGNED": "true"}
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    status, _, reported = run_console(arguments, tmp_path, _environ())
    assert status == 2, reported
    assert named in reported
    assert "Traceback" not in reported
