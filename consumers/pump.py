"""The pump: a long-running process that takes messages with bounded concurrency until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec

from consumers.backlog import watch_backlog
from consumers.engine import Engine
from consumers.pauses import Pauses
from consumers.solo import Solo
from messages.bodies import Stage
from messages.codec import Priority, decode
from messages.errors import InvalidMessage, Outage, ScfWorkersError
from messages.topics import DEAD_LETTER_TOPICS, FAILURE, WORKERS, topic_of
from telemetry import logs
from telemetry.events import Event
from transport.errors import Closed
from transport.port import Broker, Consumer, Delivery

__all__ = ["GROUPS", "Group", "Pump", "groups_of"]

_BROKER_PAUSE_S: Final = 1.0
"""Seconds until a consumer whose broker is away asks again."""

log = logs.get(__name__)


class Group(msgspec.Struct, frozen=True):
    """Topics that share one consumer and one bound on concurrency, so that no stage starves another."""

    topics: tuple[str, ...]
    subscription: str = WORKERS


GROUPS: Final = (
    Group(tuple(topic_of(Stage.CLEAN, priority) for priority in Priority)),
    Group(tuple(topic_of(Stage.GENERATE, priority) for priority in Priority)),
    Group((topic_of(Stage.POLL),)),
    Group((topic_of(Stage.WAKE),)),
    Group((topic_of(Stage.NOTIFY),)),
    Group(DEAD_LETTER_TOPICS, FAILURE),
)
"""Every topic, as a pump takes them."""


def groups_of(topics: Sequence[str]) -> tuple[Group, ...]:
    """The groups, narrowed to some topics; all of them when none is named.

    Raises:
        ValueError: a topic that does not exist; the text names those that do.
    """
    known = [topic for group in GROUPS for topic in group.topics]
    for topic in topics:
        if topic not in known:
            raise ValueError(f"topic {topic!r} is not one of {', '.join(known)}")
    narrowed = (
        Group(tuple(t for t in group.topics if not topics or t in topics), group.subscription) for group in GROUPS
    )
    return tuple(group for group in narrowed if group.topics)


class Pump:
    """Takes messages and runs them.

    Args:
        broker: where messages travel.
        engine: runs one message.
        pauses: topics that rest; shared with the engine.
        groups: what to take.
        concurrency: messages of one group at once.
        grace: seconds that begun messages may take after `stop`.
    """

    def __init__(
        self,
        broker: Broker,
        engine: Engine,
        pauses: Pauses,
        *,
        groups: Sequence[Group] = GROUPS,
        concurrency: int = 8,
        grace: float = 30.0,
    ) -> None:
        self._broker = broker
        self._engine = engine
        self._pauses = pauses
        self._groups = groups
        self._concurrency = concurrency
        self._grace = grace
        self._stopping = asyncio.Event()
        self._solo = Solo()
        self._running: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Take no more, finish what has begun, then return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises:
            transport.errors.BrokerDown: no subscription could be opened.
        """
        consumers = [
            await self._broker.subscribe(group.topics, group.subscription, prefetch=1) for group in self._groups
        ]
        log.info(Event.WORKER_STARTED, topics=[topic for group in self._groups for topic in group.topics])
        async with asyncio.TaskGroup() as tasks:
            takers = [
                tasks.create_task(self._take(group, consumer, tasks))
                for group, consumer in zip(self._groups, consumers, strict=True)
            ]
            watched = [(topic, group.subscription) for group in self._groups for topic in group.topics]
            takers.append(tasks.create_task(watch_backlog(self._broker, watched)))
            await self._stopping.wait()
            log.info(Event.WORKER_DRAINING, running=len(self._running))
            for taker in takers:
                taker.cancel()
            await self._drain()
        for consumer in consumers:
            await consumer.close()
        log.info(Event.WORKER_STOPPED)

    async def _take(self, group: Group, consumer: Consumer, tasks: asyncio.TaskGroup) -> None:
        room = asyncio.Semaphore(self._concurrency)
        while not self._stopping.is_set():
            await room.acquire()
            await self._pauses.wait(group.topics)
            try:
                delivery = await consumer.receive()
            except Closed:
                return
            except Outage as error:
                log.warning(Event.BROKER_AWAY, error=error)
                room.release()
                await asyncio.sleep(_BROKER_PAUSE_S)
                continue
            if self._stopping.is_set():
                await consumer.release(delivery)
                log.info(Event.MESSAGE_RELEASED, topic=delivery.topic, message_id=delivery.message_id)
                return
            task = tasks.create_task(self._run_one(delivery, consumer, room))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run_one(self, delivery: Delivery, consumer: Consumer, room: asyncio.Semaphore) -> None:
        try:
            async with self._solo.alone() if _is_alone(delivery) else self._solo.beside():
                await self._engine.run_one(delivery, consumer)
        except Exception as error:  # noqa: BLE001 - one message must not end the process
            # The broker delivers it again; its mark then tells that it had begun.
            log.error(Event.MESSAGE_ABANDONED, error=error, topic=delivery.topic)
            with contextlib.suppress(ScfWorkersError):
                await consumer.release(delivery)
        finally:
            room.release()

    async def _drain(self) -> None:
        if self._running:
            await asyncio.wait(set(self._running), timeout=self._grace)
        # What is cut off publishes a copy with the same attempt and acks.
        for task in set(self._running):
            task.cancel()


def _is_alone(delivery: Delivery) -> bool:
    try:
        return decode(delivery.payload).header.alone
    except InvalidMessage:
        return False
