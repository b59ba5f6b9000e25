"""Files that a process leaves on disk: no core dump, and nothing that other users may read."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from console.processes.handlers import HANDLERS
from sandbox.environment import Sandbox

ROOT: Final = Path(__file__).parents[3]
SHOW: Final = (
    "import resource\ndef main_handler(event, context):\n    return resource.getrlimit(resource.RLIMIT_CORE)\n"
)
INSTANCE: Final = "from producer.webhook import main_handler as main\nargs = ({}, {})\n"
IMAGE: Final = "from runtime.image import main\nargs = (['no.such.handler'],)\n"
BEGUN: Final = """
import contextlib, resource
with contextlib.suppress(Exception, SystemExit):
    main(*args)
print(*resource.getrlimit(resource.RLIMIT_CORE))
"""
"""Starts, fails because settings are missing, and prints the process's limits at that time."""


def test_no_process_of_ours_dumps_its_memory(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    (tmp_path / "limits.py").write_text(SHOW, encoding="utf-8")
    (tmp_path / "event.json").write_text("{}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "console", "invoke", "limits", "--event", "event.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[0, 0]\n", done.stderr


@pytest.mark.parametrize("begin", [INSTANCE, IMAGE], ids=["function", "image"])
def test_nor_does_a_function_that_fails_to_start(begin: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    done = subprocess.run(
        [sys.executable, "-c", begin + BEGUN],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 0", done.stderr


@pytest.mark.parametrize("there", [False, True])
def test_what_the_stand_ins_keep_is_for_their_user_alone(tmp_path: Path, *, there: bool) -> None:
    data = tmp_path / "data"
    if there:
        data.mkdir(mode=0o755)
    with Sandbox(data, HANDLERS):
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert stat.S_IMODE((data / "secrets.json").stat().st_mode) == 0o600
