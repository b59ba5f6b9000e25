"""`make bench`, or `python -m bench [NAME...]`: prints the figures and writes them to bench/latest.json."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure
from telemetry import logs

SUITES = (
    "messages",
    "imports",
    "engine",
    "time_limit",
    "sqlite",
    "pulsar",
    "latency",
    "in_flight",
    "billing",
    "large_file",
    "video_memory",
    "requests",
    "store_errors",
    "queueing",
    "api",
)
LATEST = Path(__file__).with_name("latest.json")


def keep(figures: Sequence[Figure], path: Path) -> None:
    """Merge a suite's figures into the file; those of other suites stay, even if one fails or runs alone."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept |= {f.name: {"median": f.median, "min": f.min, "max": f.max, "unit": f.unit} for f in figures}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main(names: list[str]) -> int:
    """Run the named suites, or all."""
    unknown = sorted(set(names) - set(SUITES))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(SUITES)}", file=sys.stderr)
        return 2
    # As in production, but to /dev/null: logging is part of an engine's cost.
    logs.setup(open(os.devnull, "w", encoding="utf-8"), "INFO", "bench")  # noqa: PTH123, SIM115 - for good
    for name in names or SUITES:
        suite = importlib.import_module(f"bench.{name}")
        print(f"\n{name}: {suite.__doc__.splitlines()[0]}")
        figures: list[Figure] = []
        for figure in suite.measure():
            print("  " + figure.line(), flush=True)
            figures.append(figure)
        keep(figures, LATEST)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
