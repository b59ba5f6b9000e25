"""The demo on Pulsar."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S
from tests.support.pulsar_part import ROOT
from tests.support.pulsar_place import Place

pytestmark = [pytest.mark.pulsar, pytest.mark.slow, pytest.mark.timeout(600)]

TASKS = 8
"""More tasks than the vendor's concurrency."""


def test_the_demo_ends_as_on_sqlite(place: Place, namespace: str, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "PULSAR_URL": place.url,
        "PULSAR_ADMIN_URL": place.admin_url,
        "PULSAR_TOKEN": place.token,
        "PULSAR_NAMESPACE": namespace,
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "console", "demo", "--broker", "pulsar", "--tasks", str(TASKS), "--json"),
            *("--out", str(tmp_path / "out")),
        ],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["broker"] == "pulsar"
    assert report["quota"] == {"charged": TASKS, "refunded": 0}
    assert [(task["status"], len(task["files"]), task["vendor_calls"]["create"]) for task in report["tasks"]] == [
        ("success", 12, 1)
    ] * TASKS
    assert all(len(task["callbacks"]) == 1 for task in report["tasks"])
    assert "still running at return" not in done.stderr
    assert not place.token or place.token not in done.stdout + done.stderr


def test_an_unknown_broker_is_rejected(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "console", "demo", "--broker", "kafka"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, "--broker must be one of sqlite, pulsar" in done.stderr) == (2, True)
