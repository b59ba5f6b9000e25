"""`scf-workers sandbox`: the stand-ins until a signal comes, and the file that points the other commands at them."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TextIO

from console.cli.arguments import BadUsage, reason
from console.cli.environment import env_lines
from console.cli.terminal import say
from console.processes.handlers import HANDLERS
from console.processes.locks import InUse, own_file
from sandbox.environment import Sandbox

__all__ = ["run_sandbox"]

_TOLD: Final = ("COS_ENDPOINT", "RUNNINGHUB_URL", "BACKEND_URL", "BROKER_URL")


def run_sandbox(data: Path, env_file: Path, event_url: str, duration: float) -> None:
    """Run the stand-ins until SIGINT or SIGTERM.

    Args:
        data: folder for what they keep; one sandbox at a time has it.
        env_file: gets their environment, for as long as they run.
        event_url: where COS events are posted; empty runs the handler.
        duration: seconds a vendor's job takes.

    Raises:
        console.cli.arguments.BadUsage: a place cannot be written, or another sandbox has it.
    """
    # Keys and pictures are written here, by handlers too: for the owner alone.
    os.umask(0o077)
    stop = threading.Event()

    def leave(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    given = {name: value for name, value in os.environ.items() if name.startswith("BROKER_")}
    broker = given if given.get("BROKER_URL") else None
    with ExitStack() as stack:
        pid = _own(stack, "--data", data, data / "sandbox.pid")
        written = _own(stack, "--env-file", env_file, env_file)
        print(os.getpid(), file=pid, flush=True)
        world = stack.enter_context(Sandbox(data, HANDLERS, event_url=event_url, duration_s=duration, broker=broker))
        print(env_lines(world.environ), end="", file=written, flush=True)
        for name in _TOLD:
            say(f"{name:16} {world.environ[name]}")
        say(f"environment in {env_file}; now `scf-workers work` in another terminal, Ctrl-C ends this one")
        stop.wait()


def _own(stack: ExitStack, option: str, given: Path, path: Path) -> TextIO:
    """A file that this process has to itself until the stack is left."""
    try:
        return stack.enter_context(own_file(path))
    except InUse as taken:
        pid = f" (pid {taken.pid})" if taken.pid else ""
        raise BadUsage(
            f"{option} {given}: a sandbox runs there already{pid}; end it, or give this one --data and --env-file"
        ) from taken
    except OSError as error:
        raise BadUsage(f"{option} {given} cannot be written: {reason(error)}; name a place that can") from error
