"""Process of the HTTP API that a command starts and stops."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import httpx

from console.processes.tethered import GRACE_S
from messages.errors import Outage

__all__ = ["ApiProcess", "NotServing"]

_READY_S: Final = 60.0
_LOOK_S: Final = 0.05
_TRIES: Final = 3
"""A port that was free may be taken before the process listens on it."""


class NotServing(Outage):
    """The API has not started."""


class ApiProcess:
    """Context manager that serves the HTTP API on a loopback port. It ends when this process ends.

    Args:
        environ: its environment.
        port: the port; 0 takes a free one, and so does a port that is in use.
    """

    def __init__(self, environ: Mapping[str, str], port: int = 0) -> None:
        self._environ = dict(environ)
        self.port = port
        """The port, once it is open."""
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        """Base URL, once it is open."""

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            NotServing: it has not.
        """
        for _ in range(_TRIES):
            self.port = _free_port(self.port)
            self.url = f"http://127.0.0.1:{self.port}"
            argv = [sys.executable, "-m", "console.processes.tethered", "api", "--port", str(self.port)]
            # Its log goes where the handlers' logs go.
            self._process = subprocess.Popen(argv, env=self._environ, stdin=subprocess.PIPE, stdout=sys.stderr)
            if self._is_serving(self._process):
                return self
            self._stop(self._process)
            self.port = 0
        raise NotServing("the HTTP API does not start; its log says why")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            self._stop(self._process)

    def _is_serving(self, process: subprocess.Popen[bytes]) -> bool:
        until = time.monotonic() + _READY_S
        with httpx.Client(trust_env=False, timeout=5.0) as http:
            while process.poll() is None and time.monotonic() < until:
                try:
                    return http.get(f"{self.url}/health").is_success and process.poll() is None
                except httpx.HTTPError:
                    time.sleep(_LOOK_S)
        return False

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(timeout=2 * GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _free_port(wanted: int) -> int:
    """Return a port that is free now: the wanted one if it is."""
    with socket.socket() as found:
        # A server that has just ended leaves its port in a state in which it is free for the next server alone.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", wanted))
        except OSError:
            found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
