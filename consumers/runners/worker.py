"""The pump as a process: settings, signals, logs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Final

from consumers.engine.engine import Engine
from consumers.engine.limits import limit_of
from consumers.engine.pauses import Pauses
from consumers.runners.backlog import watch_vendors
from consumers.runners.dispatcher import Dispatcher
from consumers.runners.health import check_health_file
from consumers.runners.pump import Pump, groups_of
from consumers.runners.status import StatusReport
from consumers.stages.table import STAGES
from messages.bodies import Stage
from messages.codec import Priority
from messages.errors import Outage
from messages.topics import topic_of
from runtime.errors import BadSettings
from runtime.settings import Settings, load_settings
from runtime.wiring import open_services, open_telemetry, set_up_logs
from services.objects.checks import winners
from services.vendors.port import VendorKey
from tasks.context import Services
from tasks.ledger.ledger import Ledger
from tasks.ledger.status import process_name
from telemetry import logs
from telemetry.events import Event

__all__ = ["build_dispatcher", "build_pump", "check_store", "keys_of", "permits_of", "reserve_of", "run_worker"]

_WRITERS: Final = 8
"""Create-only writes of one key at the start of a worker, of which exactly one must succeed."""

_FOLDER: Final = "ledger/doctor/"
"""Prefix that a worker's role may write; objects that it may not delete age out with the records."""

_STORE_PAUSE_S: Final = 5.0

log = logs.get(__name__)


def run_worker(topics: Sequence[str] = (), concurrency: int = 0) -> None:
    """Work until SIGTERM or SIGINT.

    Args:
        topics: topics to take; WORK_TOPICS if empty.
        concurrency: messages of one group of topics at once; 0 takes WORK_CONCURRENCY.

    Raises:
        runtime.errors.BadSettings: the environment cannot be used.
        ValueError: a topic that does not exist.
    """
    settings = load_settings(os.environ)
    set_up_logs(sys.stdout, settings, "consumers", os.environ)
    check_health_file(settings.health_file)
    with closing(open_telemetry(settings, "consumers")):
        asyncio.run(_work(settings, topics or settings.topics, concurrency or settings.work_concurrency))


async def _work(settings: Settings, topics: Sequence[str], concurrency: int) -> None:
    async with open_services(settings, lambda: os.environ) as services:
        pump = build_pump(
            services,
            topics=topics,
            concurrency=concurrency,
            prefetch=settings.work_prefetch,
            user_cap=settings.user_concurrency,
            grace=settings.shutdown_grace_s,
            health=settings.health_file,
        )
        # After the check of the topics: a mistyped one is reported at once, even if the store is down.
        await check_store(services.ledger)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, pump.stop)
        # In parallel to the work: the status is only for screens.
        async with StatusReport(process_name("consumers"), pump.state, services.ledger).repeated():
            await pump.run()


async def check_store(ledger: Ledger) -> None:
    """Check that create-only writes of the store never overwrite; retry while the store is down.

    Raises:
        runtime.errors.BadSettings: they overwrite. A run could get two verdicts, so nothing may be worked on.
    """
    while True:
        try:
            won = await winners(ledger.objects, f"{_FOLDER}{ledger.nonce()}", _WRITERS)
        except Outage as error:
            log.warning(Event.STORE_UNCHECKED, error=error)
            await asyncio.sleep(_STORE_PAUSE_S)
            continue
        if won != 1:
            raise BadSettings(
                f"LEDGER_BUCKET names a store that overwrites: {won} of {_WRITERS} create-only writes at once "
                "succeeded, exactly one must; was versioning ever turned on for it?"
            )
        return


def build_dispatcher(services: Services, pauses: Pauses, user_cap: int = 0) -> Dispatcher:
    """Return a dispatcher whose engine knows every stage. Call it while the loop runs."""
    return Dispatcher(Engine(services, STAGES, pauses), user_cap=user_cap)


def reserve_of(services: Services, topics: Sequence[str] = ()) -> float:
    """Return the longest seconds of paid work of any kind; 0 without a kind that pays.

    Args:
        services: the bundle of services.
        topics: the consumed topics: only the kinds count whose paid work comes by them; all if empty.
    """
    return max(
        (
            limit_of(Stage.GENERATE, form)
            for recipe in services.recipes.values()
            for form in recipe.forms
            if form.vendor and (not topics or _is_paid_by(form.vendor, topics))
        ),
        default=0.0,
    )


def _is_paid_by(vendor: str, topics: Sequence[str]) -> bool:
    return any(topic_of(Stage.GENERATE, priority, vendor=vendor) in topics for priority in Priority)


def keys_of(services: Services) -> dict[str, tuple[VendorKey, ...]]:
    """Return vendor -> its keys on this machine."""
    return {name: services.vendors.keys(name) for name in services.vendors.names}


def permits_of(services: Services) -> dict[str, int]:
    """Return vendor -> paid calls that this process may make at once; no entry for no limit."""
    found = {name: services.vendors.permits(name) for name in services.vendors.names}
    return {name: permits for name, permits in found.items() if permits is not None}


def build_pump(
    services: Services,
    *,
    topics: Sequence[str] = (),
    concurrency: int = 8,
    prefetch: int = 0,
    user_cap: int = 0,
    grace: float = 30.0,
    health: str = "",
) -> Pump:
    """Return a pump with every stage; arguments as for `Pump`. Call it while the loop runs.

    Raises:
        ValueError: a topic that does not exist.
    """
    pauses = Pauses(asyncio.get_running_loop().time)
    return Pump(
        services.broker,
        build_dispatcher(services, pauses, user_cap),
        pauses,
        groups=groups_of(topics),
        keys=keys_of(services),
        most=permits_of(services),
        watch=(partial(watch_vendors, services, pauses),),
        concurrency=concurrency,
        prefetch=prefetch,
        grace=grace,
        reserve=reserve_of(services, topics),
        health=health,
    )
