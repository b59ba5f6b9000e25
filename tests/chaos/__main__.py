"""Chaos on real processes: workers that are killed and stopped, proxies that lose answers, a broker that restarts.

python -m tests.chaos --broker sqlite --seconds 300 --seed 7 --tasks 300
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import KINDS, Options, play


def main() -> int:
    """Run the command. Returns the exit status: 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--broker", choices=("sqlite", "pulsar"), default="sqlite")
    parser.add_argument("--seconds", type=float, default=300.0, help="of faults")
    parser.add_argument("--seed", type=int, default=1, help="of what is done, and to which; not of when it meets what")
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--kinds", default=",".join(KINDS), help="that are sold, with commas between them")
    parser.add_argument("--folder", type=Path, help="kept, with the workers' log; else a temporary one")
    given = parser.parse_args()
    kinds = tuple(given.kinds.split(","))
    if unknown := set(kinds) - KINDS.keys():
        parser.error(f"--kinds: {', '.join(sorted(unknown))} is none of {', '.join(KINDS)}")
    logging.disable(logging.CRITICAL)
    options = Options(given.broker, given.seconds, given.seed, given.tasks, kinds)
    with tempfile.TemporaryDirectory(prefix="scf-workers-chaos-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = play(options, folder)
    for line in report.lines():
        print(line)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
