"""Status of a process: `status/{process}`, overwritten every few seconds, so that screens show which processes run.

It is outside the rules of records: it proves nothing, and nothing is decided by it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Final

import msgspec

from messages.errors import ScfWorkersError
from messages.keys import status_key
from services.objects.port import Objects
from telemetry import logs
from telemetry.events import Event

__all__ = ["LIMIT_S", "VERSION", "GroupStatus", "ProcessStatus", "process_name", "write_status"]

VERSION: Final = "0.1.0"
"""Version of the build, equal to `pyproject.toml`: reading the installed one takes too long for a cold start."""

LIMIT_S: Final = 5.0
"""Seconds that one write may take."""

log = logs.get(__name__)


class GroupStatus(msgspec.Struct, frozen=True):
    """Topics that share permits."""

    topics: tuple[str, ...]
    permits: int
    """Messages of them that are worked on at once."""


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one process."""

    process: str
    """Its name, which is the end of the key."""
    at: float
    """When this was written, seconds since the epoch by the store's clock; so are all times here."""
    version: str = VERSION
    """Version of the build."""
    groups: tuple[GroupStatus, ...] = ()
    """Groups of topics that it takes."""
    busy: int = 0
    """Deliveries that it works on now."""
    ended: Mapping[str, int] = {}
    """Outcome (`consumers.runners.dispatcher.DeliveryOutcome`) -> deliveries since the process began."""
    pauses: Mapping[str, float] = {}
    """Paused topic or key -> end of the pause."""
    received: float = 0.0
    """When work on a delivery began last; 0 for never."""
    sweep: Mapping[str, int] = {}
    """Counts of a sweep that ended at `at`; see `producer.sweep.Swept`."""


def process_name(service: str) -> str:
    """Name this process: its service, its machine and its number there."""
    return f"{service}-{socket.gethostname()}-{os.getpid()}"


async def write_status(status: ProcessStatus, objects: Objects, limit_s: float = LIMIT_S) -> None:
    """Overwrite a process's status. A failure of the store is only logged.

    Args:
        status: of this process.
        objects: the ledger's bucket.
        limit_s: seconds that it may take.
    """
    body = msgspec.json.encode(status)
    try:
        async with asyncio.timeout(limit_s):
            await objects.put(status_key(status.process), body, content_type="application/json")
    except (ScfWorkersError, TimeoutError) as error:
        log.warning(Event.STATUS_UNWRITTEN, error=error)
