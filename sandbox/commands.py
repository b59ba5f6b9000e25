"""Commands that stand in for functions: each gets its event on standard input, and answers on standard output."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Final

__all__ = ["Commands", "CommandsStopped"]

_GRACE_S: Final = 3.0
"""Seconds in which an interrupted command may end its own children."""


class CommandsStopped(OSError):
    """No command is started any more."""


class Commands:
    """Runs commands, from any thread, until it is stopped.

    Args:
        log: file to which their standard error is appended; None for this process's.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(
        self, argv: Sequence[str], event: bytes, *, environ: Mapping[str, str] | None, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command for one event. Returns its exit status and its standard output.

        Args:
            argv: program and arguments.
            event: the event as JSON.
            environ: its environment; this process's if None.
            timeout: seconds until it is killed.

        Raises:
            CommandsStopped: after `stop`.
            OSError: it cannot be started, or the log cannot be opened.
            subprocess.TimeoutExpired: it exceeded its time.
        """
        with nullcontext() if self._log is None else self._log.open("ab") as errors:
            process = self._start(argv, environ, errors)
        try:
            # At its end the context closes the pipes and waits.
            with process:
                try:
                    output, _ = process.communicate(event, timeout)
                finally:
                    process.kill()
        finally:
            with self._lock:
                self._running.discard(process)
        return subprocess.CompletedProcess(list(argv), process.returncode, output)

    def stop(self) -> None:
        """Start no command any more, and end those that run."""
        with self._lock:
            self._stopped = True
            running = tuple(self._running)
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def _start(
        self, argv: Sequence[str], environ: Mapping[str, str] | None, errors: IO[bytes] | None
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise CommandsStopped("the commands are stopped")
            process = subprocess.Popen(  # noqa: S603 - the command given to a stand-in
                list(argv),
                env=None if environ is None else dict(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C at the terminal is for this process, which then stops them in order.
                start_new_session=True,
            )
            self._running.add(process)
        return process
