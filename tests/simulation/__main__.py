"""Play histories of a whole deployment: many, each of which must keep the promise, or one, which is printed.

python -m tests.simulation --seeds 2000
python -m tests.simulation --seed 123 --task task04
python -m tests.simulation --seeds 500 --defect early_ack
python -m tests.simulation --seeds 2000 --replays
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.defects import DEFECTS, planted
from tests.simulation.history import play
from tests.simulation.replay_defects import DEFECTS as REPLAY_DEFECTS
from tests.simulation.replay_defects import planted as planted_replay
from tests.simulation.replays import play as play_replays
from tests.simulation.summary import Summary, timeline_of

_CHUNK = 20
"""Seeds in one task of a child process."""


def main() -> int:
    """Run the command. Returns the exit status: 0 if all is as it should be."""
    options = _parse()
    logging.disable(logging.CRITICAL)
    if options.replays or options.defect in REPLAY_DEFECTS:
        return _play_replays(options)
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
    known = sorted((*DEFECTS, *REPLAY_DEFECTS))
    parser.add_argument("--defect", choices=known, help="plant a defect; it must be found")
    parser.add_argument("--replays", action="store_true", help="play histories of replays instead")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    return parser.parse_args()


def _replay(options: argparse.Namespace) -> int:
    with planted(options.defect):
        report = play(options.seed)
    for line in timeline_of(report, options.task):
        print(line)
    return int(bool(report.violations) != bool(options.defect))


def _play_replays(options: argparse.Namespace) -> int:
    """Play histories of replays, up to the first that breaks a promise."""
    ends: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else (options.seed,)
    with planted_replay(options.defect):
        for seed in seeds:
            report = play_replays(seed)
            ends.update(report.ends)
            faults.update(report.faults)
            if report.violations or options.seed is not None:
                print(*report.events, *report.violations, sep="\n")
                print(f"seed {seed} of replays: {len(report.violations)} promises broken")
                return int(bool(report.violations) != bool(options.defect))
    print(f"{len(seeds)} histories of replays keep the promise; tasks: {_counted(ends)}; faults: {_counted(faults)}")
    return int(bool(options.defect))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


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
