"""The push: a function that EventBridge calls with messages of the queue, one or many in an event.

EventBridge has removed the messages from the queue and never delivers them again: a record that cannot be done now is
published again, and an unreadable one becomes a dead letter at once. So a call returns normally, whatever happens to
its records; it raises, for the platform to call again with the same event, only if a record could be neither done nor
published. The marks show the second call which records are done.

EventBridge lets such a function run for 300 s at most, and by default delivers 2,000 events a day to it (EventBridge,
limits of the SCF target).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from consumers.engine.engine import Engine
from consumers.engine.limits import longest_limit_of
from consumers.engine.pauses import Pauses
from consumers.runners.cloud_event import Record, records_in
from consumers.runners.dispatcher import DeliveryOutcome, Dispatcher
from consumers.runners.errors import Unsettled
from consumers.runners.time_budget import TimeBudget, budget_of
from consumers.stages.table import STAGES
from messages.bodies import Stage
from messages.codec import Message
from messages.errors import InvalidMessage, ScfWorkersError
from runtime.scf import instance, time_limit_s
from runtime.settings import Settings
from runtime.wiring import open_services
from tasks.context import Services
from telemetry import logs
from telemetry.events import Event
from transport.errors import Closed
from transport.port import Delivery

__all__ = ["Pushed", "main_handler", "push"]

_SERVICE: Final = "consumers.runners.push"
_MISFIT_DELAY_S: Final = 60.0
"""Seconds until paid work comes again if the function's time limit is too short for it."""

log = logs.get(__name__)


class Pushed(msgspec.Struct, frozen=True):
    """Counts of a call's records by outcome; see `consumers.runners.dispatcher.DeliveryOutcome`."""

    records: int
    done: int = 0
    """Their effect is stored, be it the next message, a copy after an error, or a dead letter."""
    throttled: int = 0
    cut_off: int = 0
    """Published again at the call's end."""
    abandoned: int = 0
    """Published again, because an effect failed for good."""
    deferred: int = 0
    """Published again, because there was no time to begin them."""
    unreadable: int = 0
    """Records, counted above too, that are not an envelope of a message: they became dead letters."""


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, int]:
    """Work on every record of the event. Returns the counts.

    Raises:
        messages.errors.ScfWorkersError: a record could be neither done nor published; the platform calls again.
    """
    begin, limit = time.monotonic(), time_limit_s(context)
    process = instance(_SERVICE, open_services)

    async def work(services: Services) -> Pushed:
        budget = budget_of(begin, limit, process.settings.shutdown_grace_s)
        return await push(records_in(event, services.keys), services, budget, process.settings)

    with logs.context(request_id=str(context.get("request_id", ""))):
        return dict(msgspec.structs.asdict(process.call(work)))


async def push(records: Sequence[Record], services: Services, budget: TimeBudget, settings: Settings) -> Pushed:
    """Work on records concurrently, each to some end.

    Args:
        records: of one event.
        services: the bundle of services.
        budget: end of new work, and end of running work.
        settings: WORK_CONCURRENCY and USER_CONCURRENCY are used.

    Raises:
        consumers.runners.errors.Unsettled: a record could be neither done nor published.
    """
    batch = _Batch(services, budget, settings)
    tasks = {asyncio.create_task(batch.take(record), name=f"record {n}") for n, record in enumerate(records)}
    if tasks:
        await asyncio.wait(tasks, timeout=budget.stop - batch.now())
        await batch.dispatcher.finish(budget.cut - batch.now())
        await asyncio.wait(tasks, timeout=budget.end - batch.now())
        await _let_go(tasks, budget.let_go_s)
    pushed = batch.counts(len(records))
    log.info(Event.PUSH_DONE, **msgspec.structs.asdict(pushed))
    if left := batch.unsettled(records):
        log.error(Event.PUSH_UNSETTLED, records=left)
        raise Unsettled(f"{left} of {len(records)} records could be neither done nor published again")
    return pushed


async def _let_go(tasks: Collection[asyncio.Task[None]], each_s: float) -> None:
    """Cancel the records that still run, and log every defect.

    A record that is cancelled once tries to publish a copy; cancelled again, it gives that up too.
    """
    for _ in range(2):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=each_s)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()):
            log.error(Event.MESSAGE_ABANDONED, error=error)


class _Batch:
    """The records of one event; as a consumer (see `transport.port`) it acks by counting, and releases by publishing.

    Args:
        services: the bundle of services.
        budget: of the call.
        settings: of the function.
    """

    connected = True

    def __init__(self, services: Services, budget: TimeBudget, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.engine = Engine(services, STAGES, Pauses(loop.time))
        self.dispatcher = Dispatcher(self.engine, user_cap=settings.user_concurrency)
        self._services = services
        self._budget = budget
        self._room = asyncio.Semaphore(settings.work_concurrency)
        self._settled: set[int] = set()
        self._others: Counter[str] = Counter()
        self._messages: dict[int, Message | InvalidMessage] = {}

    def counts(self, records: int) -> Pushed:
        """Return the counts."""
        ends = {end.value: self.dispatcher.counts[end] for end in DeliveryOutcome}
        return Pushed(records, **ends, **self._others)

    def unsettled(self, records: Sequence[Record]) -> int:
        """Count the records that are neither done nor published again."""
        return sum(id(record.delivery) not in self._settled for record in records)

    async def take(self, record: Record) -> None:
        """Bring one record to its end. Only a cancellation is raised."""
        if not record.readable:
            log.error(Event.PUSH_UNREADABLE, message_id=record.delivery.message_id)
            self._others["unreadable"] += 1
        self._messages[id(record.delivery)] = record.message
        try:
            async with asyncio.timeout_at(self._budget.stop):
                await self._room.acquire()
        except TimeoutError:
            await self._defer(record)
            return
        try:
            await self._begin(record)
        finally:
            self._room.release()

    async def receive(self) -> Delivery:
        """Raise `Closed`: the records are here already, so it is never called."""
        raise Closed("the records are here already")

    async def ack(self, delivery: Delivery) -> None:
        """Count the record as done."""
        self._settled.add(id(delivery))

    async def release(self, delivery: Delivery) -> None:
        """Release a record: no broker has it, so publish a copy instead."""
        await self.engine.pass_on(delivery, self._messages[id(delivery)])
        await self.ack(delivery)

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def _begin(self, record: Record) -> None:
        needed = self._needed(record)
        if self._budget.span_s <= needed:
            # No call is long enough: it waits until an operator raises the limit, or for its deadline.
            await self._defer(record, _MISFIT_DELAY_S, remedy=f"raise the function's time limit above {needed:g} s")
        elif self.now() >= self._budget.stop or self.now() + needed >= self._budget.cut:
            await self._defer(record)
        else:
            await self.dispatcher.work(
                record.delivery, self, lambda: self.now() + needed < self._budget.cut, record.message
            )

    async def _defer(self, record: Record, delay: float = 1.0, remedy: str = "") -> None:
        delivery = record.delivery
        if remedy:
            log.error(Event.PUSH_DEFERRED, topic=delivery.topic, remedy=remedy)
        else:
            log.info(Event.PUSH_DEFERRED, topic=delivery.topic)
        try:
            await self.engine.pass_on(delivery, record.message, delay)
        except ScfWorkersError as error:
            log.warning(Event.BROKER_AWAY, error=error, topic=delivery.topic)
            return
        self._others["deferred"] += 1
        await self.ack(delivery)

    def _needed(self, record: Record) -> float:
        """Return the seconds that must be left to begin: all of paid work, 0 for a run past its deadline."""
        if isinstance(record.message, InvalidMessage):
            return 0.0
        header = record.message.header
        late = header.deadline_at is not None and self._services.ledger.now() >= header.deadline_at
        if late or header.stage != Stage.GENERATE:
            return 0.0
        return longest_limit_of(Stage.GENERATE, self._services.recipes.get(header.kind))
