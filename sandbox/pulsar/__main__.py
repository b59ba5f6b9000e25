"""Runs a broker while another process lives: `python -m sandbox.pulsar FOLDER --while-pid PID`.

The file `up` in the folder says that the broker serves; `failed` holds the reason if it cannot. SIGTERM, or the end of
that process, kills the broker and removes the folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sandbox.pulsar import BrokerFailed, LocalPulsar

__all__ = ["main", "until_stopped"]

_LOOK_EVERY: Final = 0.2


@contextmanager
def until_stopped(pid: int) -> Generator[threading.Event]:
    """Provide an event that is set by SIGTERM, SIGINT, or the end of another process."""
    stop = threading.Event()
    stopped = False

    def end(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal's handler
        # The handler does not set the event itself: the interrupted code may hold the event's lock.
        nonlocal stopped
        stopped = True

    def watch() -> None:
        while _lives(pid) and not stopped:
            time.sleep(_LOOK_EVERY)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    watching = threading.Thread(target=watch, name="watch")
    watching.start()
    try:
        yield stop
    finally:
        stopped = True
        watching.join()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _settings(lines: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="sandbox.pulsar")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--while-pid", type=int, required=True)
    parser.add_argument("--guarded", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    with until_stopped(arguments.while_pid) as stop:
        broker = LocalPulsar(arguments.folder, guarded=arguments.guarded, settings=_settings(arguments.set))
        try:
            try:
                broker.start()
                (arguments.folder / "up").touch()
            except BrokerFailed as error:
                draft = arguments.folder / "failed.new"
                draft.write_text(str(error), encoding="utf-8")
                draft.rename(arguments.folder / "failed")
            stop.wait()
        finally:
            broker.wipe()


if __name__ == "__main__":
    main()
