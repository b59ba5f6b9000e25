"""`scf-workers sandbox`: runs the stand-ins and the API, and writes the environment file for the other commands."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TextIO

from console.cli.arguments import BadUsage, reason
from console.cli.broker import variables_for_sandbox
from console.cli.cos.work import set_up_buckets
from console.cli.environment import env_lines
from console.cli.terminal import say
from console.processes.api import ApiProcess
from console.processes.handlers import HANDLERS
from console.processes.locks import InUse, own_file
from sandbox.environment import TERMINAL, Sandbox

__all__ = ["run_sandbox"]

_SHOWN: Final = ("COS_ENDPOINT", "RUNNINGHUB_URL", "ARK_URL", "TOKENHUB_URL", "BACKEND_URL", "BROKER_URL", "API_URL")

_LOOK_S: Final = 1.0


def run_sandbox(data: Path, env_file: Path, event_url: str, duration: float, *, broker: str, api: bool) -> None:
    """Run the stand-ins until SIGINT or SIGTERM.

    Args:
        data: data directory of the stand-ins; one sandbox at a time may use it.
        env_file: file that holds their environment while they run.
        event_url: URL to post COS events to; empty runs the handler.
        duration: duration of a vendor's job, in seconds.
        broker: `sqlite`, `pulsar`, or empty; see `console.cli.broker.variables_for_sandbox`.
        api: serve the HTTP API too.

    Raises:
        sandbox.pulsar.BrokerFailed: no Pulsar is available.
        console.cli.arguments.BadUsage: a path cannot be written, or another sandbox uses it.
        console.processes.api.NotServing: the API has not started.
    """
    # Keys and pictures are written here, by handlers too: only the owner may read them.
    os.umask(0o077)
    stop = threading.Event()

    def leave(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    with ExitStack() as stack:
        pid = _own(stack, "--data", data, data / "sandbox.pid")
        written = _own(stack, "--env-file", env_file, env_file)
        print(os.getpid(), file=pid, flush=True)
        settings = stack.enter_context(variables_for_sandbox(broker, data))
        sandbox = stack.enter_context(
            Sandbox(data, HANDLERS, event_url=event_url, duration_s=duration, settings=settings)
        )
        set_up_buckets(sandbox.environ)
        environ = dict(sandbox.environ)
        if api:
            served = stack.enter_context(ApiProcess(environ, sandbox.ports.of("api")))
            sandbox.ports.keep("api", served.port)
            environ["API_URL"] = served.url
        # Variables of this terminal, such as its PATH, do not belong in the other terminals.
        pointed = {name: value for name, value in environ.items() if name not in TERMINAL}
        print(env_lines(pointed), end="", file=written, flush=True)
        for name in _SHOWN:
            if name in environ:
                say(f"{name:16} {environ[name]}")
        say(f"environment in {env_file}; now `scf-workers work` in another terminal, Ctrl-C ends this one")
        # Not without end: the system may give a signal to another thread, and then nothing wakes this one.
        while not stop.wait(_LOOK_S):
            pass


def _own(stack: ExitStack, option: str, given: Path, path: Path) -> TextIO:
    """Lock a file for this process until the stack is closed."""
    try:
        return stack.enter_context(own_file(path))
    except InUse as taken:
        pid = f" (pid {taken.pid})" if taken.pid else ""
        raise BadUsage(
            f"{option} {given}: a sandbox runs there already{pid}; end it, or give this one --data and --env-file"
        ) from taken
    except OSError as error:
        raise BadUsage(f"{option} {given} cannot be written: {reason(error)}; name another place") from error
