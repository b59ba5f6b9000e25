"""A command that ends when the process that started it does, however that one ends.

    python -m console.processes.tethered work …

Standard input is a pipe whose other end the starter holds and writes nothing to. The kernel closes it also after a
SIGKILL of the starter, and then this process gets a SIGTERM of its own, and a SIGKILL if it is not gone in time. (Linux
has PR_SET_PDEATHSIG for that; a pipe works everywhere, and is not tied to the starter's thread.)
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
    """Run the command line's command, tethered to standard input."""
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
