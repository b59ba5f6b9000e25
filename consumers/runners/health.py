"""Whether a pump takes work: a file is touched while it would get a message that is published now.

A probe then needs no port and no library: `scf-workers healthy` looks how old the file is. A loop that is blocked, a
broker that is away and a process that is gone all leave the file to age.
"""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from runtime.errors import BadSettings
from telemetry import logs
from telemetry.events import Event
from transport.port import Consumer

__all__ = ["EVERY_S", "OLDEST_S", "check_health_file", "is_healthy", "watch_health"]

EVERY_S: Final = 2.0
"""Seconds between two touches."""

OLDEST_S: Final = 20.0
"""Seconds after which a file that was not touched says that its pump takes no work."""

log = logs.get(__name__)


def check_health_file(path: str) -> None:
    """Look whether the file can be touched, without touching it: only a pump that takes work does that.

    Args:
        path: the file; empty is none.

    Raises:
        runtime.errors.BadSettings: it cannot.
    """
    if not path:
        return
    file = Path(path)
    there = file.exists()
    try:
        file.open("ab").close()
        if not there:
            file.unlink()
    except OSError as error:
        raise BadSettings(f"HEALTH_FILE {path} cannot be written ({error.strerror}): name another, or none") from error


async def watch_health(path: str, consumers: Sequence[Consumer]) -> None:
    """Touch a file again and again while every consumer is connected, until cancelled.

    Args:
        path: the file; empty returns at once.
        consumers: the pump's.
    """
    told = False
    while path:
        if all(consumer.connected for consumer in consumers):
            try:
                await asyncio.to_thread(Path(path).touch)
                told = False
            except OSError as error:
                # Work goes on: whoever looks for the file will not find it. Said once, until it works again.
                if not told:
                    log.warning(Event.HEALTH_FILE_UNWRITABLE, error=error)
                told = True
        await asyncio.sleep(EVERY_S)


def is_healthy(path: Path, oldest: float = OLDEST_S) -> bool:
    """Whether a file was touched within some seconds."""
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime <= oldest
