"""Keeps a broker running for as long as another process lives: `python -m sandbox.pulsar FOLDER --while-pid PID`.

The file `up` in the folder says that it serves; `failed` says why it will not. SIGTERM, or the end of that process,
kills the broker and removes the folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path

from sandbox.pulsar import BrokerFailed, LocalPulsar

_LOOK_EVERY = 1.0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _settings(lines: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def main() -> None:
    """Entry of the command."""
    parser = argparse.ArgumentParser(prog="sandbox.pulsar")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--while-pid", type=int, required=True)
    parser.add_argument("--guarded", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    stop = threading.Event()

    def end(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal's handler
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    broker = LocalPulsar(arguments.folder, guarded=arguments.guarded, settings=_settings(arguments.set))
    try:
        try:
            broker.start()
            (arguments.folder / "up").touch()
        except BrokerFailed as error:
            draft = arguments.folder / "failed.new"
            draft.write_text(str(error), encoding="utf-8")
            draft.rename(arguments.folder / "failed")
        while _lives(arguments.while_pid) and not stop.wait(_LOOK_EVERY):
            pass
    finally:
        broker.wipe()


if __name__ == "__main__":
    main()
