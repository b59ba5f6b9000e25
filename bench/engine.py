"""Engine alone: microseconds that it adds to a message whose stage does nothing, without a broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import cast

from bench.environment import TOPIC, build_services, poll_message
from bench.figures import Figure
from consumers.engine.engine import Engine
from consumers.engine.outcomes import Leave, Outcome
from consumers.engine.pauses import Pauses
from consumers.runners.dispatcher import Dispatcher
from messages.bodies import Stage
from messages.codec import Message
from tasks.context import Services
from tasks.run import Task
from telemetry import logs
from telemetry.events import Event
from transport.errors import Closed
from transport.port import Broker, Delivery

__all__ = ["measure"]

_REPEATS = 5
_MESSAGES = 10_000

log = logs.get(__name__)


class _NoConsumer:
    """Consumer whose methods do nothing."""

    connected = True

    async def receive(self) -> Delivery:
        """Raise, because there are no messages."""
        raise Closed("no messages come here")

    async def ack(self, delivery: Delivery) -> None:
        """Do nothing."""

    async def release(self, delivery: Delivery) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


async def _silent(_message: Message, _task: Task | None, _out: Services) -> Outcome:
    return Leave()


async def _logged(_message: Message, _task: Task | None, _out: Services) -> Outcome:
    log.info(Event.VENDOR_POLLED, vendor="none", state="working")
    return Leave()


async def _microseconds(*, logged: bool) -> float:
    stages = {Stage.POLL: _logged if logged else _silent}
    out = build_services(cast("Broker", None))
    dispatcher = Dispatcher(Engine(out, stages, Pauses(asyncio.get_running_loop().time)))
    consumer = _NoConsumer()
    deliveries = [Delivery(f"1:{number}", TOPIC, poll_message(number)) for number in range(_MESSAGES)]
    started = time.perf_counter()
    for delivery in deliveries:
        await dispatcher.work(delivery, consumer)
    return (time.perf_counter() - started) / _MESSAGES * 1e6


def measure() -> Iterator[Figure]:
    """Measure without logs, and with one log line for each message."""
    for name, logged in (("engine_alone", False), ("engine_alone_logging", True)):
        yield Figure.of(name, [asyncio.run(_microseconds(logged=logged)) for _ in range(_REPEATS)], "us")
