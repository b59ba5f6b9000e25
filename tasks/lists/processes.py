"""Processes by their statuses, which each overwrites while it runs."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from messages.keys import STATUS_PREFIX
from services.concurrency import Together
from services.errors import NotFound
from tasks.ledger.ledger import Ledger
from tasks.ledger.status import ProcessStatus

__all__ = ["SILENT_S", "is_silent", "read_processes"]

SILENT_S: Final = 45.0
"""Age of a status after which its process does not run any more: it has missed three writes."""

_AT_ONCE: Final = 8


async def read_processes(ledger: Ledger) -> list[ProcessStatus]:
    """Return the statuses, the newest first; one that this build cannot read has its name and its time alone.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    found = {item.key: item.modified async for item in ledger.walk(STATUS_PREFIX)}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(key: str, modified: float) -> ProcessStatus | None:
        async with gate:
            try:
                content = await ledger.objects.get(key)
                return msgspec.json.decode(content.body, type=ProcessStatus)
            except NotFound:
                return None
            except (msgspec.MsgspecError, UnicodeError):
                return ProcessStatus(process=key.removeprefix(STATUS_PREFIX), at=modified, version="")

    async with Together() as group:
        jobs = [group.create_task(read(key, modified)) for key, modified in found.items()]
    statuses = [status for job in jobs if (status := job.result())]
    return sorted(statuses, key=lambda status: (-status.at, status.process))


def is_silent(status: ProcessStatus, now: float) -> bool:
    """Return True if the process has ended, or cannot write; a drain and a sweep write once, at their end."""
    return now - status.at > SILENT_S
