"""Instance of a function: a process with a server on a port, stopped between calls."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

__all__ = ["Instance", "NotStarted"]

_POLL_EVERY_S: Final = 0.02
_RETIRE_S: Final = 10.0
"""Seconds until an instance that was asked to end is killed. SCF's value is not documented."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class NotStarted(Exception):
    """The server did not listen in time, or its process ended."""


class Instance:
    """A process in a group of its own.

    Args:
        process: the process.
        port: port of its server.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    @classmethod
    async def start(
        cls, command: Sequence[str], environ: Mapping[str, str], log: Path | None, limit_s: float
    ) -> Instance:
        """Start a process and wait until its server listens.

        Args:
            command: program and arguments.
            environ: its environment; PORT, the port to listen on, is added.
            log: file for its output; None drops it.
            limit_s: seconds within which it must listen.

        Raises:
            NotStarted: it does not.
        """
        port = _free_port()
        with open(log or os.devnull, "ab") as output:  # noqa: PTH123, ASYNC230 - opened at once, and never written to here
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**environ, "PORT": str(port)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        instance = cls(process, port)
        try:
            async with asyncio.timeout(limit_s):
                await instance._listens()
        except (TimeoutError, NotStarted) as error:
            await instance.kill()
            raise NotStarted(f"no server on port {port} within {limit_s:g} s, or it ended") from error
        except BaseException:
            await instance.kill()
            raise
        return instance

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True until it has ended."""
        return self._process.returncode is None

    async def freeze(self) -> None:
        """Stop it, and return when it has stopped."""
        self._signal(signal.SIGSTOP)
        while self.is_alive and await asyncio.to_thread(_state, self.pid) not in "TZX":  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(_POLL_EVERY_S / 10)

    def thaw(self) -> None:
        """Let it continue."""
        self._signal(signal.SIGCONT)

    async def grows_beyond(self, limit_bytes: int) -> None:
        """Return when its resident memory exceeds the limit, which may be never."""
        while await asyncio.to_thread(_resident, self.pid) <= limit_bytes:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(_POLL_EVERY_S)

    async def kill(self) -> None:
        """Kill it with all processes that it has started."""
        self._signal(signal.SIGKILL)
        await self._process.wait()

    async def retire(self) -> None:
        """Ask it to end; kill it if it does not."""
        self.thaw()
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_RETIRE_S):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            await self.kill()

    async def _listens(self) -> None:
        while self.is_alive:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(_POLL_EVERY_S)
            else:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
                return
        raise NotStarted

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _state(pid: int) -> str:
    """Return the state's letter, as `ps` shows it; X for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _resident(pid: int) -> int:
    """Return the resident memory in bytes; 0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
