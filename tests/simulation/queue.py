"""The broker of a deployment: the real one in memory, seen by each machine through connections that may fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from messages.codec import try_decode
from messages.errors import InvalidMessage
from tests.simulation.events import CURRENT, Timeline
from tests.simulation.machines import Machine
from transport.errors import BrokerDown, Closed
from transport.port import Backlog, Broker, Capabilities, Delivery
from transport.sqlite import SqliteBroker
from transport.sqlite.broker import SqliteConsumer

_LATE_S: Final = 60.0
"""Seconds by which a message is late."""
_HAIR: Final = 0.001
"""Seconds: virtual time is so exact that a message could be due by one rounding and early by another."""


@dataclass
class Entry:
    """A message that is stored and not acked."""

    id: str
    topic: str
    words: str
    """Task, stage, seq and attempt, for the timeline."""
    task: str
    stage: str
    due: float
    """By the loop's clock."""
    slot: int = 0
    """Of messages that belong to one; 0 for those of the whole run."""
    holder: str = ""
    receivers: list[Machine] = field(default_factory=list)
    """Every machine that it was ever given to."""


class Queue:
    """Stored messages, their holders, and whether the broker answers.

    Args:
        inner: the real broker.
        timeline: of the history.
        spawn: starts a task of the broker's own.
    """

    def __init__(self, inner: Broker, timeline: Timeline, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.inner = cast("SqliteBroker", inner)
        self.timeline = timeline
        self.spawn = spawn
        self.open: dict[str, Entry] = {}
        self.consumers: list[MachineConsumer] = []
        self.down = False
        self.up_since = 0.0
        self.published = 0
        self.knows_dead_holders = True
        """True if it reports with a delivery that all its earlier holders are dead."""
        self.on_publish: Callable[[Entry], str] = lambda _: ""
        """Fault of a stored message: none, `lost`, `twice`, `early` or `late`."""
        self.on_receive: Callable[[MachineConsumer, Delivery], None] = lambda _, __: None
        self.on_ack: Callable[[MachineConsumer, Entry], bool] = lambda _, __: True
        """True if an ack arrives."""
        self.on_acked: Callable[[Machine, Entry], None] = lambda _, __: None

    def check_up(self) -> None:
        """Insist that the broker answers."""
        if self.down:
            raise BrokerDown("the broker restarts")

    async def store(self, topic: str, payload: bytes, delay: float) -> str:
        """Store a message, even if the publisher dies meanwhile."""
        return await asyncio.shield(asyncio.ensure_future(self._store(topic, payload, delay)))

    async def _store(self, topic: str, payload: bytes, delay: float) -> str:
        entry = _entry(topic, payload, asyncio.get_running_loop().time() + delay)
        trouble = self.on_publish(entry)
        if trouble == "lost":
            return f"lost-{self.published}"
        if trouble == "early":
            delay /= 4
            entry.due -= 3 * delay
        if trouble == "late":
            delay += _LATE_S
            entry.due += _LATE_S
        if trouble == "twice":
            await self._put(topic, payload, delay, entry)
        return await self._put(topic, payload, delay, entry)

    async def _put(self, topic: str, payload: bytes, delay: float, like: Entry) -> str:
        stored = await self.inner.publish(topic, payload, delay=delay + _HAIR if delay else 0.0)
        self.published += 1
        self.open[stored] = Entry(stored, topic, like.words, like.task, like.stage, like.due, like.slot)
        return stored

    def acked(self, entry: Entry) -> None:
        """Remove a message."""
        self.open.pop(entry.id, None)

    def take_back(self, machine: Machine) -> None:
        """Give the messages of a machine to others, because its lease or its connection has ended."""
        for consumer in self.consumers:
            if consumer.machine is machine:
                consumer.lose_all()

    def give_up(self, machine: Machine) -> None:
        """A dead machine's connections are closed; what it held goes to others."""
        for consumer in [each for each in self.consumers if each.machine is machine]:
            consumer.lose_all(close=True)
            self.consumers.remove(consumer)

    async def restart(self, seconds: float) -> None:
        """Be away for a while; what was in flight is delivered again."""
        self.down = True
        for consumer in self.consumers:
            consumer.inner.fail("the broker restarts")
        await asyncio.sleep(seconds)
        for consumer in self.consumers:
            consumer.lose_all()
        self.down, self.up_since = False, asyncio.get_running_loop().time()


class MachineBroker:
    """The port as one machine sees it."""

    def __init__(self, queue: Queue, machine: Machine) -> None:
        self._queue = queue
        self._machine = machine

    @property
    def capabilities(self) -> Capabilities:
        known = self._queue.knows_dead_holders
        return msgspec.structs.replace(self._queue.inner.capabilities, knows_dead_holders=known)

    async def publish(self, topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        place = f"broker.publish {_entry(topic, payload, 0.0).words} in {delay:.1f} s"
        await self._machine.pass_by(place, done=False)
        self._queue.check_up()
        stored = await self._queue.store(topic, payload, delay)
        await self._machine.pass_by(place, done=True)
        return stored

    async def subscribe(self, topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> MachineConsumer:
        await self._machine.stand()
        self._queue.check_up()
        inner = await self._queue.inner.subscribe(topics, subscription, prefetch=prefetch)
        consumer = MachineConsumer(inner, self._queue, self._machine)
        self._queue.consumers.append(consumer)
        return consumer

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        await self._machine.stand()
        self._queue.check_up()
        return await self._queue.inner.backlog(topic, subscription)

    async def close(self) -> None:
        """Its consumers are closed one by one."""


class MachineConsumer:
    """One consumer of one machine."""

    def __init__(self, inner: SqliteConsumer, queue: Queue, machine: Machine) -> None:
        self.inner = inner
        self.machine = machine
        self.held: dict[str, Delivery] = {}
        self._queue = queue

    @property
    def connected(self) -> bool:
        return self.inner.connected and not self._queue.down

    async def receive(self) -> Delivery:
        await self.machine.stand()
        self._queue.check_up()
        try:
            delivery = await self.inner.receive()
        except Closed:
            await self.machine.stand()
            raise
        self.held[delivery.message_id] = delivery
        died = False
        if entry := self._queue.open.get(delivery.message_id):
            died = bool(entry.receivers) and not any(machine.alive for machine in entry.receivers)
            entry.receivers.append(self.machine)
            entry.holder = self.machine.name
        await self.machine.stand()
        self._queue.on_receive(self, delivery)
        return msgspec.structs.replace(delivery, holder_died=died and self._queue.knows_dead_holders)

    async def ack(self, delivery: Delivery) -> None:
        entry = self._queue.open.get(delivery.message_id)
        place = f"broker.ack {entry.words if entry else 'what others have acked'}"
        await self.machine.pass_by(place, done=False)
        self._queue.check_up()
        doing = CURRENT.get()
        if doing.message_id == delivery.message_id:
            doing.acked = True
        if entry is not None and delivery.message_id in self.held and self._queue.on_ack(self, entry):
            self.held.pop(delivery.message_id)
            self._queue.acked(entry)
            self._queue.on_acked(self.machine, entry)
            await self.inner.ack(delivery)
        await self.machine.pass_by(place, done=True)

    async def release(self, delivery: Delivery) -> None:
        await self.machine.stand()
        self._queue.check_up()
        self.lose(delivery)

    async def close(self) -> None:
        await self.machine.stand()
        if self in self._queue.consumers:
            self._queue.consumers.remove(self)
        self.lose_all()
        await self.inner.close()

    def lose(self, delivery: Delivery) -> None:
        """The broker gives a message that is held here to another, unasked."""
        if self.held.pop(delivery.message_id, None) is not None:
            if entry := self._queue.open.get(delivery.message_id):
                entry.holder = ""
            self._queue.spawn(self._let_go(delivery))

    def lose_all(self, *, close: bool = False) -> None:
        """The same with all of them; `close` ends the connection too."""
        for delivery in list(self.held.values()):
            self.lose(delivery)
        if close:
            self._queue.spawn(self.inner.close())

    async def _let_go(self, delivery: Delivery) -> None:
        await self.inner.release(delivery)


def _entry(topic: str, payload: bytes, due: float) -> Entry:
    message = try_decode(payload)
    if isinstance(message, InvalidMessage):
        return Entry("", topic, "unreadable", "", "", due)
    header, slot = message.header, getattr(message.body, "slot", 0)
    words = f"{header.task} {header.stage}-{header.seq}"
    if slot > 1:
        words += f" slot {slot}"
    if header.attempt:
        words += f" attempt {header.attempt}"
    return Entry("", topic, words, header.task, header.stage, due, slot)
