"""Cold start: import of an entry module, against the import of its indispensable libraries, in processor time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from bench.figures import Figure

__all__ = ["measure"]

_REPEATS = 9
# Processor time, because the elapsed time of an import depends mostly on other processes.
_SCRIPT = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"
_PAIRS = (
    ("producer.cos_trigger", "msgspec, pulsar"),
    ("producer.cos_trigger", "msgspec, asyncio, logging"),
    ("consumers.runners.worker", "msgspec, asyncio, logging"),
)


def _seconds(what: str) -> float:
    done = subprocess.run([sys.executable, "-c", _SCRIPT.format(what)], capture_output=True, check=True, text=True)
    return float(done.stdout)


def measure() -> Iterator[Figure]:
    """Import times and their ratios."""
    for module, base in _PAIRS:
        # Alternating, so that a change of the machine's load affects both equally.
        rows = [(_seconds(module), _seconds(base)) for _ in range(_REPEATS)]
        label = f"import {module}"
        yield Figure.of(f"{label}, ms", [ours * 1000 for ours, _ in rows], "ms")
        yield Figure.of(f"{label} / import {base}", [ours / theirs for ours, theirs in rows], "x")
