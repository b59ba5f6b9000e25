"""Search the model from a command line: the cases by name, or random walks for some seconds."""

from __future__ import annotations

import argparse
import sys
import time

from tests.model.cases import CASES, MANY_FAULTS, Case
from tests.model.rules import TODAY
from tests.model.search import shortened, walk

_DEADLINE = 4


def _case(case: Case, most: int, *, ways: bool) -> bool:
    """Search one case and print its outcome; True when it is the expected one."""
    began = time.process_time()
    found = case.search(most)
    right = case.is_right(found)
    seen = f"{found.states} states{'' if found.complete else ' (cut)'}, {time.process_time() - began:.1f} s"
    print(f"{'ok ' if right else 'BAD'} {case.name}: {seen}; {', '.join(found.problems) or 'nothing found'}")
    if ways or not right:
        for problem, way in found.problems.items():
            print(f"    {problem}", *way, sep="\n        ")
    return right


def _walks(seconds: float) -> bool:
    """Walk at random with many faults; print and shorten the first way that breaks a promise."""
    began, seed = time.process_time(), 0
    while time.process_time() - began < seconds:
        broken, labels = walk(TODAY, MANY_FAULTS, seed, deadline=_DEADLINE)
        if broken:
            short = shortened(TODAY, MANY_FAULTS, labels, broken[0], deadline=_DEADLINE)
            print(f"seed {seed}: {broken[0]}", *short, sep="\n    ")
            return False
        seed += 1
    print(f"{seed} walks, no promise broken")
    return True


def main() -> int:
    """Run the command; exit status 1 when a case ends otherwise than expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains TEXT")
    parser.add_argument(
        "--most", type=int, default=50_000, metavar="STATES", help="states a case (default: %(default)s)"
    )
    parser.add_argument("--ways", action="store_true", help="print the moves that lead to each problem")
    parser.add_argument("--walk", type=float, default=0, metavar="SECONDS", help="random walks instead of the cases")
    options = parser.parse_args()
    if options.walk:
        return int(not _walks(options.walk))
    chosen = [case for case in CASES if options.only in case.name]
    if not chosen:
        parser.error(f"--only: no case has {options.only!r} in its name")
    right = [_case(case, options.most, ways=options.ways) for case in chosen]
    return int(not all(right))


if __name__ == "__main__":
    sys.exit(main())
