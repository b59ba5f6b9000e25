"""`make bench`, or `python -m bench [NAME...]`: print the figures and write them to bench/latest.json."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from bench.figures import Figure
from telemetry import logs

SUITES = ("messages", "imports", "engine", "sqlite", "pulsar", "latency", "in_flight", "billing", "large_file")
LATEST = Path(__file__).with_name("latest.json")


def main(names: list[str]) -> int:
    """Run the suites named, or all."""
    unknown = sorted(set(names) - set(SUITES))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(SUITES)}", file=sys.stderr)
        return 2
    # As in production, but that nobody reads it: what an engine tells is part of what it costs.
    logs.setup(open(os.devnull, "w", encoding="utf-8"), "INFO", "bench")  # noqa: PTH123, SIM115 - for good
    figures: list[Figure] = []
    for name in names or SUITES:
        print(f"\n{name}: {importlib.import_module(f'bench.{name}').__doc__.splitlines()[0]}")
        for figure in importlib.import_module(f"bench.{name}").measure():
            print("  " + figure.line(), flush=True)
            figures.append(figure)
    found = {f.name: {"median": f.median, "min": f.min, "max": f.max, "unit": f.unit} for f in figures}
    LATEST.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
