"""A command that ends when the process that started it ends, however that happens.

    python -m console.processes.tethered work …

Standard input is a pipe; the starter holds its other end and writes nothing to it. The kernel closes the pipe even
after a SIGKILL of the starter; then this process sends itself a SIGTERM, and a SIGKILL if it has not ended in time.
(Linux has PR_SET_PDEATHSIG for that; a pipe works everywhere and does not depend on the starter's thread.)
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Final

__all__ = ["GRACE_S", "main"]

GRACE_S: Final = 10.0
"""Seconds between the two signals."""


def main() -> None:
    """Run a command of the command line, tied to standard input."""
    threading.Thread(target=_watch, args=(os.dup(sys.stdin.fileno()),), name="tether", daemon=True).start()
    from console.cli.main import main as command

    command()


def _watch(tether: int) -> None:
    while os.read(tether, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
