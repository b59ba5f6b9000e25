"""Measurement in a separate process, whose memory and processor time are its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

__all__ = ["measure_apart"]


def measure_apart(module: str, *arguments: str) -> dict[str, float]:
    """Run a module that prints its figures as one JSON object.

    Raises:
        subprocess.CalledProcessError: it failed; its output is on standard error.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found
