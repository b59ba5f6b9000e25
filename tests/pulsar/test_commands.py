"""The commands of docs/how-to/run-on-pulsar.md that need a Pulsar, in their order, as a reader would run them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.pulsar import LocalPulsar
from tests.docs.pages import commands_of
from tests.docs.test_commands import ON_PULSAR
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.own_pulsar, pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_commands_of_the_page_work_in_order(tmp_path: Path) -> None:
    commands = [command for command in commands_of("docs/how-to/run-on-pulsar.md") if command in ON_PULSAR]
    assert tuple(commands) == ON_PULSAR
    environ = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "JAVA_HOME") if name in os.environ}
    environ |= {name: value for name, value in os.environ.items() if name in {"SCF_WORKERS_CACHE", "XDG_CACHE_HOME"}}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    said: dict[str, str] = {}
    broker = LocalPulsar(tmp_path / ".sandbox/pulsar")
    try:
        for command in commands:
            done = subprocess.run(
                shlex.split(command),
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=3 * PATIENCE_S,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            said[command] = done.stdout
        assert not broker.pid
    finally:
        broker.wipe()
    start, status, demo, _ = (said[command] for command in commands)
    assert start == f"BROKER_URL={broker.url}\nBROKER_ADMIN_URL={broker.admin_url}\n"
    assert status.startswith("STATE=ready\n")
    report = json.loads(demo.splitlines()[-1])
    assert (report["broker"], report["quota"]) == ("pulsar", {"charged": 3, "refunded": 0})
