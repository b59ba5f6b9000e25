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
        argv = [sys.executable, "-m", "console.processes.tethered", "work", *self._arguments]
        with self._log.open("ab") as log:
            for _ in range(self._count):
                process = subprocess.Popen(argv, env=self._environ, stdin=subprocess.PIPE, stdout=log, stderr=log)
                self._processes.append(process)
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

    def died(self) -> int | None:
        """Return the exit status of a worker that ended by itself; None while all run."""
        return next((code for process in self._processes if (code := process.poll()) is not None), None)
