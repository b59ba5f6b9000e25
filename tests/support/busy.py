"""Run tests again and again while all cores are busy with other work: `python -m tests.support.busy 10 -- tests/...`.

A test that passes only on a quiet machine is no test; this finds such tests before a busy machine does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["busy", "main"]

_EACH: Final = 2
"""Spinning processes for each core."""
_SPIN: Final = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(10**6): pass"


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep all cores busy; the spinning processes end with this one."""
    count = _EACH * (os.cpu_count() or 1)
    spinning = [subprocess.Popen([sys.executable, "-S", "-E", "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def main(arguments: Sequence[str]) -> int:
    """Run pytest with the arguments after `--` this number of times; return the number of failed runs."""
    times, _, *tests = arguments
    failed = 0
    with busy():
        for number in range(1, int(times) + 1):
            started = time.monotonic()
            done = subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], check=False)
            failed += done.returncode != 0
            load = os.getloadavg()[0]
            print(  # noqa: T201 - a command prints
                f"run {number} of {times}: {'failed' if done.returncode else 'passed'} "
                f"after {time.monotonic() - started:.0f} s at a load of {load:.1f}",
                flush=True,
            )
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
