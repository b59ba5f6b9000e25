"""The demo with something going wrong: real processes, and each task ends as it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from console.cli.arguments import BadUsage
from console.cli.demo.injections import INJECTIONS, Injected, read_injections
from sandbox.runninghub import Core, Fault, KeyLimits

ROOT: Final = Path(__file__).parents[2]


def environ() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT)}


def demo(folder: Path, *argv: str) -> dict[str, Any]:
    """Report of a demo."""
    command = [sys.executable, "-m", "console", "demo", "--json", *argv]
    done = subprocess.run(command, cwd=folder, env=environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_files_that_answer_503_for_a_while_are_had_all_the_same(tmp_path: Path) -> None:
    """A few seconds have the same effects as a minute: every first try fails, and no attempt is spent."""
    report = demo(tmp_path, "--tasks", "6", "--inject", "files-down:4")
    assert report["quota"] == {"charged": 6, "refunded": 0}
    assert [task["status"] for task in report["tasks"]] == ["success"] * 6
    assert [len({(tmp_path / path).read_bytes() for path in task["files"]}) for task in report["tasks"]] == [12] * 6
    assert [task["vendor_calls"]["create"] for task in report["tasks"]] == [1] * 6
    assert [len(task["callbacks"]) for task in report["tasks"]] == [1] * 6


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_an_input_that_the_audit_blocks_is_refunded_and_nothing_was_paid(tmp_path: Path) -> None:
    report = demo(tmp_path, "--tasks", "2", "--inject", "audit-block")
    assert report["quota"] == {"charged": 2, "refunded": 2}
    assert [task["error"]["code"] for task in report["tasks"]] == ["content_violation"] * 2
    assert [task["vendor_calls"]["create"] for task in report["tasks"]] == [0, 0]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_chat_model_that_is_away_costs_the_model_and_not_the_task(tmp_path: Path) -> None:
    report = demo(tmp_path, "--kind", "ai_image_prompt", "--inject", "prompt-down")
    assert report["quota"] == {"charged": 1, "refunded": 0}
    (task,) = report["tasks"]
    assert (task["status"], task["error"], len(task["callbacks"])) == ("success", None, 1)
    assert task["degraded"] == ["prompt_template"]
    assert task["text"]


SUCCESS: Final = {"charged": 1, "refunded": 0}
REFUNDED: Final = {"charged": 1, "refunded": 1}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_faults_that_cost_time_alone_combine(tmp_path: Path) -> None:
    faults = ("duplicate-events", "backend-down", "vendor-busy:4", "worker-kill")
    report = demo(tmp_path, *(word for name in faults for word in ("--inject", name)))
    (task,) = report["tasks"]
    assert (report["quota"], task["status"], task["vendor_calls"]["create"]) == (SUCCESS, "success", 1)
    assert [call["http_status"] for call in task["callbacks"]][-3:] == [503, 503, 200]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_audit_that_is_down_is_waited_for(tmp_path: Path) -> None:
    (task,) = demo(tmp_path, "--kind", "basic_clean", "--inject", "audit-down")["tasks"]
    assert (task["status"], len(task["callbacks"])) == ("success", 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_of_four_slots_may_fail(tmp_path: Path) -> None:
    report = demo(tmp_path, "--inject", "slot-fails")
    (task,) = report["tasks"]
    assert (task["kind"], task["status"], task["degraded"]) == ("photography", "success", ["fewer_results"])
    assert report["quota"] == SUCCESS
    assert [Path(key).name for key in task["outputs"]] == ["photo_01.jpg", "photo_02.jpg", "photo_03.jpg"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fault", "code"), [("vendor-fail", "vendor_failed"), ("vendor-never", "timeout")])
def test_a_vendor_that_fails_or_never_ends_is_refunded(tmp_path: Path, fault: str, code: str) -> None:
    report = demo(tmp_path, "--inject", fault)
    (task,) = report["tasks"]
    assert (report["quota"], task["status"], task["error"]["code"]) == (REFUNDED, "failed", code)
    assert (task["files"], len(task["callbacks"])) == ([], 1)


def test_help_lists_every_fault() -> None:
    command = [sys.executable, "-m", "console", "demo", "--inject", "help"]
    done = subprocess.run(command, cwd=ROOT, env=environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [*INJECTIONS]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["vendor-cut", "vendor-duplicate", "vendor-list-lags"])
def test_a_lost_answer_of_a_vendor_that_finds_its_calls_is_a_success_with_one_job(name: str, tmp_path: Path) -> None:
    report = demo(tmp_path, "--kind", "fitting", "--inject", name)
    assert report["quota"] == SUCCESS
    (task,) = report["tasks"]
    assert (task["status"], len(task["files"]), len(task["callbacks"])) == ("success", 1, 1)
    assert task["vendor_calls"]["create"] == 1
    assert report["accepted"] == {"runninghub": 0, "ark": 0, "vod": 1}


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ("files-down", Injected("files-down", 60.0)),
        ("files-down:0.5", Injected("files-down", 0.5)),
        ("audit-block", Injected("audit-block", 0.0)),
    ],
)
def test_what_is_asked_for(asked: str, read: Injected) -> None:
    assert read_injections([asked]) == (read,)


@pytest.mark.parametrize(
    "asked", ["help", "", "files", "files-down:x", "files-down:nan", "files-down:-1", "audit-block:3"]
)
def test_what_there_is_not_is_refused_by_name(asked: str) -> None:
    with pytest.raises(BadUsage) as caught:
        read_injections([asked])
    name = asked.partition(":")[0]
    assert all(known in str(caught.value) for known in ([name] if name in INJECTIONS else INJECTIONS))


def test_a_fault_lasts_so_many_seconds_from_the_first_call_that_it_spoils() -> None:
    now = 100.0
    core = Core(api_keys={"k": KeyLimits()}, workflows={}, clock=lambda: now, duration_s=1.0, url_ttl_s=1.0, seed=1)
    core.arm(Fault(on="file", kind="error", seconds=60.0))
    core.arm(Fault(on="query", kind="cut", times=2))
    now = 500.0
    assert core.take("file")
    now = 559.0
    assert [bool(core.take("file")) for _ in range(50)] == [True] * 50
    now = 560.0
    assert core.take("file") is None
    assert [bool(core.take("query")) for _ in range(4)] == [True, True, False, False]
