"""The stand-ins on a broker of another process, as in compose.yaml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.cli.environment import read_env_file
from tests.support.patience import PATIENCE_S


@pytest.mark.slow
def test_the_environment_that_it_writes_names_the_broker_and_the_collector_it_was_given(tmp_path: Path) -> None:
    given = {
        "BROKER_URL": f"sqlite://{tmp_path}/theirs.db",
        "BROKER_NAMESPACE": "ours",
        "OTEL_METRICS_EXPORTER": "none",
    }
    env_file = tmp_path / "env"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "console", "sandbox"),
            *("--data", str(tmp_path / "data"), "--env-file", str(env_file)),
        ],
        env={"PATH": os.environ["PATH"], **given},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any("environment in" in line for line in process.stdout)
        assert given.items() <= read_env_file(env_file).items()
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert not env_file.exists()
