"""Worker processes that a command starts and stops."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Workers"]


class Workers:
    """Context manager that runs worker processes. They end when this process ends, however that happens.

    Args:
        count: number of processes.
        environ: their environment.
        log: file for their output.
        arguments: arguments of `scf-workers work`.
    """

    def __init__(self, count: int, environ: Mapping[str, str], log: Path, arguments: Sequence[str] = ()) -> None:
        self._count = count
        self._environ = dict(environ)
        self._log = log
        self._arguments = tuple(arguments)
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._processes.extend(self._start() for _ in range(self._count))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def replace(self) -> None:
        """Kill every process, as `kill -9` does, and start others in their place."""
        killed, self._processes = self._processes, []
        for process in killed:
            process.kill()
        for process in killed:
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._processes.extend(self._start() for _ in killed)

    def _start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "console.processes.tethered", "work", *self._arguments]
        with self._log.open("ab") as log:
            # In a session of its own: Ctrl-C at the terminal is for this process, which then stops it in order.
            return subprocess.Popen(
                argv, env=self._environ, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes."""
        return tuple(process.pid for process in self._processes)

    def died(self) -> int | None:
        """Return the exit status of a worker that ended by itself; None while all run."""
        return next((code for process in self._processes if (code := process.poll()) is not None), None)
