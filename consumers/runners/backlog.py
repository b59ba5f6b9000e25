"""Backlog of the topics as metrics while a pump runs: containers are scaled by it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from messages.errors import ScfWorkersError
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric
from transport.port import Broker

__all__ = ["EVERY_S", "tell_backlog", "watch_backlog"]

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
