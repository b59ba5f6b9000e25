"""Child processes: the ordinary worker and the ordinary trigger, with a point at which to die.

They are forked from a server that has imported everything once, so that a start costs milliseconds. The product's own
code is as it is; only the records that say how long a process is taken to be alive are made short, by the ledger that
the worker is given, because these tests know that it is dead.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import consumers.runners.worker
import producer.cos_trigger
import runtime.wiring
import services.objects.cos
import services.vendors.runninghub.client
import transport.sqlite
from consumers.runners.worker import run_worker
from messages.keys import RunId
from producer.cos_trigger import main_handler
from runtime.settings import Settings
from runtime.wiring import open_services
from tasks.context import Services
from tasks.ledger.ledger import Ledger, Stored
from tasks.ledger.names import RecordBase, RecordName
from tasks.ledger.records import Begun, Intent
from telemetry import points

N = TypeVar("N", bound=RecordBase)

PRELOADED = (consumers.runners.worker, producer.cos_trigger, runtime.wiring, services.objects.cos, transport.sqlite)
"""Loaded before the fork; `services.vendors.runninghub.client` comes along."""

assert services.vendors.runninghub.client  # it is imported late by the product

DEAD_AFTER_S = 1.0
"""Seconds after which the writer of a mark is taken for dead."""


class HastyLedger(Ledger):
    """Says of every process that it will not live long.

    Args:
        ledger: the one to write through.
        clock: this machine's clock.
        open_s: seconds that a paid call's outcome may stay open.
    """

    def __init__(self, ledger: Ledger, *, clock: Callable[[], float], open_s: float) -> None:
        super().__init__(ledger.objects, clock=clock, nonce=ledger.nonce)
        self._open_s = open_s

    async def write(self, run: RunId, name: RecordName[N], record: N) -> Stored[N]:
        short: Any = record
        if isinstance(record, Begun):
            short = msgspec.structs.replace(record, limit_s=DEAD_AFTER_S)
        elif isinstance(record, Intent):
            short = msgspec.structs.replace(record, open_s=self._open_s)
        return await super().write(run, name, short)


def work(environ: Mapping[str, str], log: Path, point: str, reported: Connection, open_s: float) -> None:
    """A worker; it dies when it first reaches the point, and without one it prints every point."""
    _become(environ, log)
    _watch(point, reported)

    @asynccontextmanager
    async def opened(settings: Settings, environ: Callable[[], Mapping[str, str]]) -> AsyncGenerator[Services]:
        async with open_services(settings, environ) as services:
            yield dataclasses.replace(
                services, ledger=HastyLedger(services.ledger, clock=services.clock, open_s=open_s)
            )

    consumers.runners.worker.open_services = opened  # type: ignore[assignment]  # the same call, with another ledger
    run_worker()


def trigger(environ: Mapping[str, str], log: Path, point: str, reported: Connection, event: Mapping[str, Any]) -> None:
    """The COS trigger, called once as the platform would."""
    _become(environ, log)
    _watch(point, reported)
    main_handler(event, {"request_id": "r1"})


def _become(environ: Mapping[str, str], log: Path) -> None:
    """A process of its own: its environment, its output, its signals."""
    os.environ.clear()
    os.environ.update(environ)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _watch(point: str, reported: Connection) -> None:
    def hook(reached: str) -> None:
        if not point:
            reported.send_bytes(reached.encode())
        elif reached == point:
            reported.send_bytes(reached.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    points.install(hook)
