"""Health of a pump: it touches a file while it would receive a message that is published now.

A probe then needs no port and no library: `scf-workers healthy` checks the file's age. A blocked loop, a broker that is
down and a dead process all let the file age.
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
"""Seconds after which an untouched file means that its pump takes no work."""

log = logs.get(__name__)


def check_health_file(path: str) -> None:
    """Check that the file can be touched, without touching it: only a pump that takes work does that.

    Args:
        path: the file; empty for none.

    Raises:
        runtime.errors.BadSettings: it cannot be touched.
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
    reported = False
    while path:
        if all(consumer.connected for consumer in consumers):
            try:
                await asyncio.to_thread(Path(path).touch)
                reported = False
            except OSError as error:
                # Work goes on: the probe will find the file too old. Logged once, until it works again.
                if not reported:
                    log.warning(Event.HEALTH_FILE_UNWRITABLE, error=error)
                reported = True
        await asyncio.sleep(EVERY_S)


def is_healthy(path: Path, oldest: float = OLDEST_S) -> bool:
    """Return True if a file was touched within some seconds."""
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime <= oldest
