"""Worker processes that are killed, stopped and thawed at random, and always replaced."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.support.pulsar_part import ROOT

__all__ = ["Fleet"]

_WORK: Final = (sys.executable, "-m", "console.processes.tethered", "work")
_ACTS: Final = ("kill", "kill", "freeze", "leave")
_FREEZES_S: Final = (1.0, 4.0, 15.0)


class Fleet:
    """Worker processes.

    Args:
        count: how many work at the same time.
        environ: their environment.
        log: file for their output.
        rng: chooses faults and workers.
    """

    def __init__(self, count: int, environ: Mapping[str, str], log: Path, rng: random.Random) -> None:
        self._count = count
        self._environ = dict(environ)
        self._log = log
        self._rng = rng
        self._running: list[subprocess.Popen[bytes]] = []
        self._frozen: set[int] = set()
        self.acts: Counter[str] = Counter()
        self.died: list[int] = []
        """Exit statuses of workers that ended by themselves; 1 of one that found no broker when it began."""

    def fill(self) -> None:
        """Start workers until there are as many as there should be."""
        for one in [one for one in self._running if one.poll() is not None]:
            self._running.remove(one)
            # A worker that gets SIGTERM before it handles signals dies of it.
            if one.returncode not in {0, -signal.SIGKILL, -signal.SIGTERM}:
                self.died.append(one.returncode)
        with self._log.open("ab") as log:
            while len(self._running) < self._count:
                self._running.append(
                    subprocess.Popen(_WORK, cwd=ROOT, env=self._environ, stdin=subprocess.PIPE, stdout=log, stderr=log)
                )

    async def upset(self, seconds: float, also: Callable[[], None] | None = None, every: float = 0.0) -> None:
        """Do something to a worker every few seconds.

        Args:
            seconds: for so long.
            also: done now and then besides, such as a restart of the broker; it may block.
            every: seconds between two of those.
        """
        loop = asyncio.get_running_loop()
        end, next_also = loop.time() + seconds, loop.time() + every
        thaws: list[asyncio.Task[None]] = []
        while loop.time() < end:
            await asyncio.sleep(self._rng.uniform(0.5, 4.0))
            if also and loop.time() >= next_also:
                self.acts["broker restart"] += 1
                await asyncio.to_thread(also)
                next_also = loop.time() + every
            thaws += self._act(self._rng.choice(_ACTS))
            self.fill()
        await asyncio.gather(*thaws)
        self.fill()

    def _act(self, act: str) -> list[asyncio.Task[None]]:
        victims = [one for one in self._running if one.poll() is None and one.pid not in self._frozen]
        if not victims:
            return []
        victim = self._rng.choice(victims)
        self.acts[act] += 1
        if act == "freeze":
            return [asyncio.create_task(self._freeze(victim, self._rng.choice(_FREEZES_S)))]
        os.kill(victim.pid, signal.SIGKILL if act == "kill" else signal.SIGTERM)
        return []

    async def _freeze(self, victim: subprocess.Popen[bytes], seconds: float) -> None:
        self._frozen.add(victim.pid)
        os.kill(victim.pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        if victim.poll() is None:
            os.kill(victim.pid, signal.SIGCONT)
        self._frozen.discard(victim.pid)

    def close(self) -> None:
        """End all workers."""
        for one in self._running:
            if one.poll() is None:
                os.kill(one.pid, signal.SIGCONT)
                one.terminate()
        for one in self._running:
            try:
                one.wait(timeout=20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
            if one.stdin is not None:
                one.stdin.close()
