"""Environment of an engine that is measured alone: a broker, a ledger in memory, stages of the benchmark."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Final, cast

import msgspec

from consumers.engine.engine import Engine
from consumers.engine.outcomes import Leave, Outcome
from consumers.engine.pauses import Pauses
from consumers.engine.stage import StageFunction
from consumers.runners.dispatcher import Dispatcher
from consumers.runners.pump import Group, Pump
from messages.bodies import Job, Poll, Stage
from messages.codec import Message, encode, new_header
from messages.keys import RunId
from messages.signing import MessageKey, MessageKeys
from messages.topics import topic_of
from services.backend import Backend
from services.fetch import Fetcher
from services.objects.memory import MemoryObjects
from services.vendors.port import Vendor
from services.vendors.registry import Vendors
from tasks.context import Policy, Services
from tasks.ledger.ledger import Ledger
from tasks.run import Task
from telemetry import logs
from telemetry.events import Event
from transport.port import Broker

__all__ = ["KEYS", "TOPIC", "NoWork", "build_pump", "build_services", "poll_message"]

TOPIC = topic_of(Stage.POLL)

log = logs.get(__name__)


KEYS: Final = MessageKeys([MessageKey("k1", b"the key of the bench, of 32 bytes")], accept_unsigned=False)
"""Keys of every message in the bench."""


def build_services(broker: Broker, vendors: Collection[Vendor] = (), expected_s: float = 0.0) -> Services:
    """Return services with this broker and a ledger in memory; nothing else is reachable.

    Args:
        broker: the broker.
        vendors: vendors for the stages.
        expected_s: usual duration of their jobs, in seconds.
    """
    records = MemoryObjects(bucket="ledger-1250000000", clock=time.time)
    return Services(
        broker=broker,
        keys=KEYS,
        objects=MemoryObjects(bucket="bench-1250000000", clock=time.time),
        bucket="bench-1250000000",
        ledger=Ledger(records, clock=time.time, nonce=lambda: "0123456789abcdef"),
        backend=cast("Backend", None),
        vendors=Vendors(vendors),
        fetcher=cast("Fetcher", None),
        policy=Policy(expected_s=expected_s),
    )


def poll_message(number: int, *, seq: int = 1, deadline_s: int = 0) -> bytes:
    """Return a `poll` message. With the default `seq` the engine uses the ledger only to write."""
    header = new_header(RunId("u-1024", f"t{number}"), Stage.POLL, time.time())
    header = msgspec.structs.replace(header, seq=seq, kind="model_pose12", deadline=deadline_s * 1000)
    return encode(Message(header, Poll((Job(1, f"job{number}"),), header.created)), KEYS)


def build_pump(services: Services, stages: Mapping[Stage, StageFunction], *, concurrency: int, prefetch: int) -> Pump:
    """Return a pump on the topics of some stages, each with its own permits."""
    groups = tuple(Group({topic_of(stage): 1}) for stage in stages)
    pauses = Pauses(asyncio.get_running_loop().time)
    dispatcher = Dispatcher(Engine(services, stages, pauses))
    return Pump(services.broker, dispatcher, pauses, groups=groups, concurrency=concurrency, prefetch=prefetch)


class NoWork:
    """A stage that does nothing, and a pump that runs it.

    Args:
        broker: broker with the messages.
        concurrency: permits of the pump.
        prefetch: messages fetched ahead.
        logged: log one line for each message.
    """

    def __init__(self, broker: Broker, *, concurrency: int, prefetch: int, logged: bool = False) -> None:
        self._logged = logged
        self._left = 0
        self._begun = 0.0
        self._done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._pump = build_pump(
            build_services(broker), {Stage.POLL: self._stage}, concurrency=concurrency, prefetch=prefetch
        )

    async def _stage(self, _message: Message, _task: Task | None, _out: Services) -> Outcome:
        self._begun = self._begun or time.perf_counter()
        if self._logged:
            log.info(Event.VENDOR_POLLED, vendor="none", state="working")
        self._left -= 1
        if not self._left:
            self._done.set_result(time.perf_counter() - self._begun)
        return Leave()

    async def take(self, count: int) -> float:
        """Process a number of messages. Returns the seconds from the first to the last; all are acked at the end."""
        self._left = count
        running = asyncio.create_task(self._pump.run())
        took = await self._done
        self._pump.stop()
        await running
        return took
