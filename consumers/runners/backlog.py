"""Metrics of a pump: backlog of its topics, by which containers are scaled, and keys, permits and lines of vendors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from consumers.engine.pauses import Pauses
from messages.errors import ScfWorkersError
from services.vendors.registry import Vendors
from tasks.calls.lines import VendorLines
from tasks.context import Services
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric
from transport.port import Broker

__all__ = ["EVERY_S", "tell_backlog", "tell_vendors", "watch_backlog", "watch_vendors"]

EVERY_S: Final = 30.0
"""Seconds between two looks at each topic."""

log = logs.get(__name__)


async def watch_backlog(broker: Broker, topics: Sequence[tuple[str, str]]) -> None:
    """Report the backlog of every topic every few seconds, until cancelled; do nothing if no metrics are exported.

    Args:
        broker: the broker.
        topics: (topic, subscription).
    """
    while metrics.is_on():
        await tell_backlog(broker, topics)
        await asyncio.sleep(EVERY_S)


async def tell_backlog(broker: Broker, topics: Sequence[tuple[str, str]]) -> None:
    """Report the backlog of every topic once; keep the last value of a topic that the broker cannot report."""
    for topic, subscription in topics:
        try:
            found = await broker.backlog(topic, subscription)
        except ScfWorkersError as error:
            log.warning(Event.BACKLOG_UNKNOWN, error=error, topic=topic)
            continue
        metrics.level(Metric.BACKLOG, found.ready, topic=topic, state="ready")
        metrics.level(Metric.BACKLOG, found.delayed, topic=topic, state="delayed")
        metrics.level(Metric.BACKLOG, found.in_flight, topic=topic, state="in_flight")
        metrics.level(Metric.BACKLOG_AGE, found.oldest_age, topic=topic)


async def watch_vendors(services: Services, pauses: Pauses) -> None:
    """Report the state of every vendor every few seconds, until cancelled; do nothing if no metrics are exported.

    Args:
        services: the bundle of services.
        pauses: paused keys.
    """
    while metrics.is_on():
        tell_vendors(services.vendors, services.lines, pauses, services.ledger.now())
        await asyncio.sleep(EVERY_S)


def tell_vendors(vendors: Vendors, lines: VendorLines, pauses: Pauses, now: float) -> None:
    """Report the keys, the permits and the line of every vendor once; `now` is seconds since the epoch."""
    for name in vendors.names:
        keys = vendors.keys(name)
        paused = sum(pauses.left((), (key,)) > 0 for key in keys)
        states = {"open": len(keys) - paused, "paused": paused, "draining": len(vendors.draining(name))}
        for state, count in states.items():
            metrics.level(Metric.VENDOR_KEYS, count, vendor=name, state=state)
        metrics.level(Metric.VENDOR_PERMITS, sum(map(lines.held, keys)), vendor=name, state="held")
        if (most := vendors.permits(name)) is not None:
            metrics.level(Metric.VENDOR_PERMITS, most, vendor=name, state="most")
        metrics.level(Metric.VENDOR_WAITING, lines.waiting(name, now), vendor=name)
