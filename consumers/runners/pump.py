"""The pump: takes messages with bounded concurrency until it is stopped, and finishes the begun ones.

Each group of topics has its own permits. A free permit asks for a message, a used one does not, and brokers fetch
nothing ahead: so a pump works on every message that it holds, and a second worker gets work at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from consumers.engine.pauses import Pauses
from consumers.runners.backlog import watch_backlog
from consumers.runners.dispatcher import Dispatcher, give_back
from consumers.runners.health import watch_health
from consumers.runners.status import PumpState
from consumers.runners.weighted_consumer import WeightedConsumer
from messages.bodies import Stage
from messages.errors import Outage
from messages.topics import WORKERS, Topic
from services.vendors.port import VendorKey
from tasks.ledger.status import GroupStatus
from tasks.topics import TOPICS
from telemetry import logs
from telemetry.events import Event
from transport.errors import Closed
from transport.port import Broker, Consumer

__all__ = ["GROUPS", "Group", "Pump", "groups_in", "groups_of"]

_BROKER_PAUSE_S: Final = 1.0
"""Seconds until a consumer asks again after its broker was down."""

_EMPTY_S: Final = 0.2
"""Seconds after which a topic that brings nothing counts as empty."""

log = logs.get(__name__)


class Group(msgspec.Struct, frozen=True):
    """Topics that share permits, so that no stage starves another."""

    topics: dict[str, int]
    """Topic -> weight of its turns while several wait."""
    subscription: str = WORKERS
    paid: bool = False
    """True if its work may make paid calls: it begins only with enough time for all of it."""
    vendor: str = ""
    """Vendor of its paid calls: while all its keys are full the group pauses."""


def groups_in(table: Sequence[Topic]) -> tuple[Group, ...]:
    """Return the groups of a table of topics, in its order: a stage, a vendor's paid calls, or all dead letters."""
    members: dict[tuple[Stage, str], list[Topic]] = {}
    for topic in table:
        members.setdefault(topic.group, []).append(topic)
    return tuple(
        Group(
            {topic.name: topic.priority.weight if stage is not Stage.DEAD else 1 for topic in topics},
            topics[0].subscription,
            paid=stage is Stage.GENERATE,
            vendor=vendor,
        )
        for (stage, vendor), topics in members.items()
    )


GROUPS: Final = groups_in(TOPICS)
"""Every topic, as a pump takes them."""


def groups_of(topics: Sequence[str]) -> tuple[Group, ...]:
    """Return the groups, narrowed to some topics; all of them if none is named.

    Raises:
        ValueError: a topic does not exist; the text lists those that do.
    """
    known = [topic for group in GROUPS for topic in group.topics]
    for topic in topics:
        if topic not in known:
            raise ValueError(f"topic {topic!r} is not one of {', '.join(known)}")
    narrowed = (_narrow(group, topics) for group in GROUPS)
    return tuple(group for group in narrowed if group.topics)


def _narrow(group: Group, topics: Sequence[str]) -> Group:
    kept = {topic: weight for topic, weight in group.topics.items() if not topics or topic in topics}
    return msgspec.structs.replace(group, topics=kept)


class Pump:
    """Pump: takes messages and gives them to a dispatcher. Must be made while the loop runs.

    Args:
        broker: the broker.
        dispatcher: works on the messages.
        pauses: paused topics and keys; shared with the engine.
        groups: groups of topics to take.
        keys: vendor -> its keys on this machine that make new calls.
        most: vendor -> messages of its paid calls at once, at most; no entry for no limit but `concurrency`.
        concurrency: messages of one group at once.
        prefetch: messages fetched ahead of each topic. More than none is quicker where a message takes well under a
            millisecond, and keeps them from other workers while this one is busy.
        grace: seconds that begun messages may take after `stop`.
        until: time of its end, by the loop's clock: paid work that might not be done by then is not begun.
        reserve: longest seconds of paid work.
        health: file that is touched while the pump takes work; empty for none.
        watch: what else runs beside the work, until it is cancelled.
    """

    def __init__(  # noqa: PLR0913 - each is an independent setting
        self,
        broker: Broker,
        dispatcher: Dispatcher,
        pauses: Pauses,
        *,
        groups: Sequence[Group] = GROUPS,
        keys: Mapping[str, Sequence[VendorKey]] | None = None,
        most: Mapping[str, int] | None = None,
        concurrency: int = 8,
        prefetch: int = 0,
        grace: float = 30.0,
        until: float = math.inf,
        reserve: float = 0.0,
        health: str = "",
        watch: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        self._broker = broker
        self._dispatcher = dispatcher
        self._pauses = pauses
        self._groups = groups
        self._keys = keys or {}
        self._most = most or {}
        self._concurrency = concurrency
        self._prefetch = prefetch
        self._grace = grace
        self._until = until
        self._reserve = reserve
        self._health = health
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._opened = math.inf
        self._homes = [(topic, group.subscription) for group in groups for topic in group.topics]

    @property
    def open_s(self) -> float:
        """Seconds since all subscriptions are open; 0 before that."""
        return max(0.0, self._loop.time() - self._opened)

    def state(self) -> PumpState:
        """Return its current state."""
        return PumpState(
            groups=[GroupStatus(tuple(group.topics), self._permits_of(group)) for group in self._groups],
            busy=len(self._dispatcher.busy),
            ended={end.value: count for end, count in self._dispatcher.counts.items()},
            pauses=self._pauses.resting(),
            received_s=self._dispatcher.received_s,
        )

    def stop(self) -> None:
        """Take no more messages, finish the begun ones, then return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises:
            transport.errors.BrokerDown: a subscription could not be opened.
        """
        consumers = await self._subscribe()
        try:
            await self._work(consumers)
        finally:
            ends = await asyncio.gather(*(consumer.close() for consumer in consumers), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        log.info(Event.WORKER_STOPPED)

    async def _work(self, consumers: Sequence[Consumer]) -> None:
        self._opened = self._loop.time()
        log.info(Event.WORKER_STARTED, topics=[topic for topic, _ in self._homes])
        async with asyncio.TaskGroup() as tasks:
            permits = [
                tasks.create_task(permit)
                for group, consumer in zip(self._groups, consumers, strict=True)
                for permit in self._permits(group, consumer)
            ]
            watchers = [
                tasks.create_task(watch_backlog(self._broker, self._homes)),
                tasks.create_task(watch_health(self._health, consumers)),
                *(tasks.create_task(watch()) for watch in self._watch),
            ]
            await self._stopping.wait()
            log.info(Event.WORKER_DRAINING, running=len(self._dispatcher.busy))
            for task in {*permits, *watchers} - self._dispatcher.busy:
                task.cancel()
            await self._dispatcher.finish(self._grace)

    async def _subscribe(self) -> list[Consumer]:
        """Open a consumer for each group; if one cannot be opened, close the others."""
        found = await asyncio.gather(
            *(self._broker.subscribe([topic], name, prefetch=self._prefetch) for topic, name in self._homes),
            return_exceptions=True,
        )
        opened = [end for end in found if not isinstance(end, BaseException)]
        if failed := [end for end in found if isinstance(end, BaseException)]:
            await asyncio.gather(*(consumer.close() for consumer in opened), return_exceptions=True)
            raise failed[0]
        each = iter(opened)
        return [_together({topic: next(each) for topic in group.topics}, group) for group in self._groups]

    def _permits(self, group: Group, consumer: Consumer) -> list[Coroutine[Any, Any, None]]:
        asking: dict[int, float] = {}
        return [self._serve_permit(group, consumer, asking, permit) for permit in range(self._permits_of(group))]

    def _permits_of(self, group: Group) -> int:
        return max(1, min(self._concurrency, self._most.get(group.vendor, self._concurrency)))

    async def _serve_permit(self, group: Group, consumer: Consumer, asking: dict[int, float], permit: int) -> None:
        """Work on one message after the other.

        Args:
            group: of the permit.
            consumer: of the group.
            asking: permit -> since when it waits for a message, by the loop's clock; of all permits of the group.
            permit: which of them it is.
        """
        topics, keys = tuple(group.topics), self._keys.get(group.vendor, ())
        may_begin, has_spare = partial(self._may_begin, group), partial(self._has_spare, asking)
        while may_begin():
            if self._pauses.left(topics, keys):
                await self._pauses.wait(topics, keys)
            asking[permit] = self._loop.time()
            try:
                delivery = await consumer.receive()
            except Closed:
                if self._stopping.is_set():
                    return
                raise
            except Outage as error:
                if not self._pauses.left(topics, keys):
                    log.warning(Event.BROKER_AWAY, error=error)
                    self._pauses.pause(topics[0], _BROKER_PAUSE_S)
                continue
            finally:
                del asking[permit]
            if self._pauses.left(topics, keys):
                await give_back(delivery, consumer)
            else:
                await self._dispatcher.work(delivery, consumer, may_begin, has_spare=has_spare)

    def _has_spare(self, asking: Mapping[int, float]) -> bool:
        """Return True if a permit of a group has waited for a message for so long that there seems to be none."""
        return bool(asking) and self._loop.time() - min(asking.values()) >= _EMPTY_S

    def _may_begin(self, group: Group) -> bool:
        """Return True if there is time for one more message."""
        needed = self._reserve if group.paid else 0.0
        return not self._stopping.is_set() and self._loop.time() + needed < self._until


def _together(consumers: dict[str, Consumer], group: Group) -> Consumer:
    return WeightedConsumer(consumers, group.topics) if len(consumers) > 1 else next(iter(consumers.values()))
