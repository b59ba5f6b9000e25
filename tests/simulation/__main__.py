"""Play histories of a whole deployment: many, of which each must keep the promise, or one, which is then told.

python -m tests.simulation --seeds 2000
python -m tests.simulation --seed 123 --task task04
python -m tests.simulation --seeds 500 --defect early_ack
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.defects import DEFECTS, planted
from tests.simulation.history import play
from tests.simulation.summary import Summary, timeline_of

_CHUNK = 20
"""Seeds of one trip to a process."""


def main() -> int:
    """Do what the command line asks for. Returns the exit status: 0 where all is as it should be."""
    options = _parse()
    logging.disable(logging.CRITICAL)
    if options.seed is not None:
        return _replay(options)
    started = time.monotonic()
    summary = Summary()
    for part in _played(options):
        summary.add(part)
        if options.defect and summary.failed:
            break
    for line in summary.lines(time.monotonic() - started):
        print(line)
    if summary.failed:
        first = min(summary.failed)
        print(f"\nthe first of them (make simulate SEED={first}):\n")
        options.seed = first
        _replay(options)
    return int(bool(summary.failed) != bool(options.defect))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="histories to play")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--seed", type=int, help="play this one alone, and print what happens")
    parser.add_argument("--task", action="append", default=[], help="print this task alone, and what concerns all")
    parser.add_argument("--defect", choices=sorted(DEFECTS), help="plant a defect; it must be found")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    return parser.parse_args()


def _replay(options: argparse.Namespace) -> int:
    with planted(options.defect):
        report = play(options.seed)
    for line in timeline_of(report, options.task):
        print(line)
    return int(bool(report.violations) != bool(options.defect))


def _played(options: argparse.Namespace) -> Iterator[Summary]:
    firsts = range(options.first, options.first + options.seeds, _CHUNK)
    last = options.first + options.seeds
    with ProcessPoolExecutor(options.jobs) as processes:
        yield from processes.map(partial(_play_some, last=last, defect=options.defect), firsts)


def _play_some(first: int, *, last: int, defect: str | None) -> Summary:
    logging.disable(logging.CRITICAL)
    summary = Summary()
    with planted(defect):
        for seed in range(first, min(first + _CHUNK, last)):
            summary.add(Summary.of(play(seed)))
    return summary


if __name__ == "__main__":
    sys.exit(main())
