"""Whether a pump takes work: a file is touched while it would get a message that is published now.

A probe then needs no port and no library: `scf-workers healthy` looks how old the file is. A loop that is blocked, a
broker that is away and a process that is gone all leave the file to age.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from telemetry import logs
from telemetry.events import Event
from transport.port import Consumer

__all__ = ["EVERY_S", "OLDEST_S", "is_healthy", "watch_health"]

EVERY_S: Final = 2.0
"""Seconds between two touches."""

OLDEST_S: Final = 20.0
"""Seconds after which a file that was not touched says that its pump takes no work."""

log = logs.get(__name__)


async def watch_health(path: str, consumers: Sequence[Consumer]) -> None:
    """Touch a file again and again while every consumer is connected, until cancelled.

    Args:
        path: the file; empty returns at once.
        consumers: the pump's.
    """
    while path:
        if all(consumer.connected for consumer in consumers):
            try:
                await asyncio.to_thread(Path(path).touch)
            except OSError as error:
                # Work goes on: whoever looks for the file will not find it.
                log.warning(Event.HEALTH_UNTOLD, error=error)
        await asyncio.sleep(EVERY_S)


def is_healthy(path: Path, oldest: float = OLDEST_S) -> bool:
    """Whether a file was touched within some seconds."""
    try:
        return time.time() - path.stat().st_mtime <= oldest
    except OSError:
        return False
