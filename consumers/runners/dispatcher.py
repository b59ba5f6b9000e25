"""Works on deliveries concurrently: crash copies isolated, no user over its cap, and an end within a grace period."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final

from consumers.engine.engine import Engine
from consumers.engine.limits import is_marked
from consumers.runners.exclusive_gate import ExclusiveGate
from consumers.runners.user_cap import UserCap
from messages.codec import Header, Message
from messages.errors import InvalidMessage, Outage, ScfWorkersError
from telemetry import logs
from telemetry.events import Event
from transport.port import Consumer, Delivery

__all__ = ["HOLD_S", "USER_CAP", "DeliveryOutcome", "Dispatcher", "give_back"]

HOLD_S: Final = 1.0
"""Seconds for which a message that cannot begin here is held; then it is released for another worker."""

USER_CAP: Final = "user_cap"
"""Reason that is recorded for a message that waits because its user has enough under way."""

log = logs.get(__name__)


class DeliveryOutcome(StrEnum):
    """Ways in which work on a delivery ends."""

    DONE = "done"
    """Its effect is stored and it was acked."""
    THROTTLED = "throttled"
    """Its user is at the cap, or it must run isolated: it was published again with a delay, and acked."""
    CUT_OFF = "cut_off"
    """Its time was over: a copy with the same attempt continues, or it had not begun and was released."""
    ABANDONED = "abandoned"
    """An effect or its ack failed for good; it was released."""


class Dispatcher:
    """Works on deliveries, each in its caller's task. Must be made where the loop runs.

    Args:
        engine: runs one message.
        user_cap: pieces of work of one user at once; 0 for no limit.
    """

    def __init__(self, engine: Engine, *, user_cap: int = 0) -> None:
        self._engine = engine
        self._cap = UserCap(user_cap)
        self._gate = ExclusiveGate()
        self._busy: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._moved = self._loop.time()
        self._received: float | None = None
        self.counts: Counter[DeliveryOutcome] = Counter()

    @property
    def busy(self) -> frozenset[asyncio.Task[None]]:
        """Tasks that work on a delivery now."""
        return frozenset(self._busy)

    @property
    def idle_s(self) -> float:
        """Seconds since anything was at work; 0 while something is."""
        return 0.0 if self._busy else self._loop.time() - self._moved

    @property
    def received_s(self) -> float | None:
        """Seconds since work on a delivery began last; None for never."""
        return None if self._received is None else self._loop.time() - self._received

    async def work(
        self,
        delivery: Delivery,
        consumer: Consumer,
        may_begin: Callable[[], bool] = lambda: True,
        message: Message | InvalidMessage | None = None,
        has_spare: Callable[[], bool] = lambda: False,
    ) -> None:
        """Work on one delivery to its end. Only a cancellation is raised; every error is logged.

        Args:
            delivery: the message.
            consumer: whose delivery it is.
            may_begin: called again just before the work begins; if it returns False, the message is released.
            message: its decoded contents, if the caller has decoded it already.
            has_spare: whether another permit is free and finds no message.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a delivery is worked on in a task")
        self._busy.add(task)
        self._received = self._loop.time()
        end = DeliveryOutcome.CUT_OFF
        try:
            message = message or self._engine.read(delivery.payload)
            end = await self._work(delivery, consumer, message, may_begin, has_spare)
        finally:
            self.counts[end] += 1
            self._busy.discard(task)
            self._moved = self._loop.time()

    async def finish(self, grace: float) -> None:
        """Let running work end within some seconds; work that does not end publishes a copy, with the same attempt."""
        if busy := self.busy:
            await asyncio.wait(busy, timeout=grace)
        for task in self.busy:
            task.cancel()

    async def _work(
        self,
        delivery: Delivery,
        consumer: Consumer,
        message: Message | InvalidMessage,
        may_begin: Callable[[], bool],
        has_spare: Callable[[], bool],
    ) -> DeliveryOutcome:
        user = self._cap.counted(message.header) if isinstance(message, Message) else ""
        try:
            if not user or not isinstance(message, Message):
                return await self._run(delivery, consumer, message, may_begin)
            if not self._cap.is_full(user) or not may_begin():
                self._cap.enter(user)
            elif not await self._enter_capped(user, delivery, consumer, message, has_spare):
                return DeliveryOutcome.THROTTLED
            began = self._loop.time()
            try:
                return await self._run(delivery, consumer, message, may_begin)
            finally:
                self._cap.leave(user, self._loop.time() - began)
        except Exception as error:  # noqa: BLE001 - one message must not end the process
            # It comes again; its mark then shows that it had begun.
            log.error(Event.MESSAGE_ABANDONED, error=error, topic=delivery.topic)
            await give_back(delivery, consumer)
            return DeliveryOutcome.ABANDONED

    async def _enter_capped(
        self, user: str, delivery: Delivery, consumer: Consumer, message: Message, has_spare: Callable[[], bool]
    ) -> bool:
        """Wait a moment for a place under the cap; False for one that was published again with a delay."""
        async with _given_back_if_cancelled(delivery, consumer):
            if await self._cap.enter_soon(user, HOLD_S, has_spare):
                return True
        if await self._throttle(delivery, consumer, message, self._cap.send_away(message.header), USER_CAP):
            return False
        self._cap.enter(user)
        return True

    async def _throttle(
        self, delivery: Delivery, consumer: Consumer, message: Message, delay: float, why: str = ""
    ) -> bool:
        try:
            async with _given_back_if_cancelled(delivery, consumer):
                return await self._engine.throttle(delivery, consumer, message, delay, why)
        except Outage as error:
            # If released, it would come again at once. If worked on, it meets the outage and waits.
            log.warning(Event.MESSAGE_THROTTLE_FAILED, error=error)
            return False

    async def _run(
        self,
        delivery: Delivery,
        consumer: Consumer,
        message: Message | InvalidMessage,
        may_begin: Callable[[], bool],
    ) -> DeliveryOutcome:
        if not isinstance(message, Message) or _is_light(message.header, delivery):
            # It counts no crash, so it may run beside an isolated message.
            return await self._begin(delivery, consumer, message, may_begin)
        if message.header.isolated:
            rest = await self._enter_isolated(delivery, consumer)
            if not rest:
                try:
                    return await self._begin(delivery, consumer, message, may_begin)
                finally:
                    self._gate.leave_isolated()
            if await self._throttle(delivery, consumer, message, rest):
                return DeliveryOutcome.THROTTLED
        if not (self._gate.enter_now() or await self._enter(delivery, consumer)):
            return DeliveryOutcome.CUT_OFF
        try:
            return await self._begin(delivery, consumer, message, may_begin)
        finally:
            self._gate.leave()

    async def _begin(
        self,
        delivery: Delivery,
        consumer: Consumer,
        message: Message | InvalidMessage,
        may_begin: Callable[[], bool],
    ) -> DeliveryOutcome:
        if not may_begin():
            await give_back(delivery, consumer)
            return DeliveryOutcome.CUT_OFF
        await self._engine.run_one(delivery, consumer, message)
        return DeliveryOutcome.DONE

    async def _enter(self, delivery: Delivery, consumer: Consumer) -> bool:
        """Wait at the gate; False if the message was released because isolated work kept it out too long."""
        try:
            async with _given_back_if_cancelled(delivery, consumer), asyncio.timeout(HOLD_S):
                await self._gate.enter()
        except TimeoutError:
            await give_back(delivery, consumer)
            return False
        return True

    async def _enter_isolated(self, delivery: Delivery, consumer: Consumer) -> float:
        """Wait at the gate; returns 0, or the seconds after which to try again if the others inside took too long."""
        async with _given_back_if_cancelled(delivery, consumer):
            return await self._gate.enter_isolated()


@asynccontextmanager
async def _given_back_if_cancelled(delivery: Delivery, consumer: Consumer) -> AsyncGenerator[None]:
    """Give a message back if the wait before its work is cancelled; the engine itself settles a begun one."""
    try:
        yield
    except asyncio.CancelledError:
        await give_back(delivery, consumer)
        raise


def _is_light(header: Header, delivery: Delivery) -> bool:
    return not (is_marked(header) or header.isolated or delivery.holder_died)


async def give_back(delivery: Delivery, consumer: Consumer) -> None:
    """Release a message that is not worked on; a broker that is down delivers it again anyway."""
    try:
        await consumer.release(delivery)
    except ScfWorkersError as error:
        log.warning(Event.BROKER_AWAY, error=error, topic=delivery.topic)
    else:
        log.info(Event.MESSAGE_RELEASED, topic=delivery.topic, message_id=delivery.message_id)
