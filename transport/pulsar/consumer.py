"""One member of a subscription."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from transport.errors import Closed
from transport.port import Delivery
from transport.pulsar.native import Arrival
from transport.pulsar.topic_consumer import Lane

__all__ = ["PulsarConsumer"]

_EARLY: Final = 5.0
"""Seconds by which a message may come early and is kept until it is due; a broker delivers up to a tick early, which is
a second by default. One that comes earlier still has met another clock, and is handed out: the engine looks again."""

_REMEMBERED: Final = 8192
"""Acks remembered. A broker that crashes forgets those of its last moments, and delivers the messages again."""
_FORGOTTEN: Final = 600.0
"""Seconds after which an ack is no more counted upon: a broker whose storage was wiped gives out the same ids anew."""

_MOST_EARLY: Final = 64
"""Messages kept because they came early; when so many are kept, no more are requested until one is due."""


class PulsarConsumer:
    """A lane a topic, and one queue for what they bring. Made by `PulsarBroker.subscribe`.

    Args:
        clock: wall time in seconds.
        prefetch: what each lane's client fetches ahead.
        guard: raises in a forked child.
        left: called when it is closed.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        prefetch: int,
        guard: Callable[[], None],
        left: Callable[[PulsarConsumer], None],
    ) -> None:
        self._clock = clock
        self._prefetch = prefetch
        self._guard = guard
        self._left = left
        self._lanes: deque[Lane] = deque()
        self._ready: deque[Delivery] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._held: dict[str, tuple[Lane, Arrival]] = {}
        self._acked: OrderedDict[str, float] = OrderedDict()
        self._early: dict[str, asyncio.TimerHandle] = {}
        self._waiting = 0
        self._asking = False
        self._resting = False
        self._closed = False
        self._leaving = asyncio.Lock()

    def add(self, lane: Lane) -> None:
        """Take a lane in, before the first `receive`."""
        self._lanes.append(lane)

    @property
    def lanes(self) -> Sequence[Lane]:
        """Its lanes."""
        return tuple(self._lanes)

    @property
    def connected(self) -> bool:
        """Whether every lane can bring messages just now."""
        return all(lane.connected for lane in self._lanes)

    @property
    def held(self) -> Mapping[str, int]:
        """Topic -> messages that came and are not acked."""
        return Counter(lane.topic for lane, _ in self._held.values())

    async def receive(self) -> Delivery:
        """Wait for the next due message; see the port.

        Raises:
            transport.errors.Closed: the consumer or the broker was closed.
            transport.errors.Forked: another process opened it.
        """
        self._guard()
        self._resting = False
        self._waiting += 1
        try:
            self._ask()
            while not self._ready:
                if self._closed:
                    raise Closed("the consumer is closed")
                await self._change()
        finally:
            self._waiting -= 1
        return self._ready.popleft()

    async def ack(self, delivery: Delivery) -> None:
        """The message is done; the client tells the broker within some 100 ms, and at the latest in `close`.

        Raises:
            transport.errors.Closed: the consumer was closed, and has given the message back.
            transport.errors.Forked: another process opened it.
        """
        self._guard()
        if self._closed:
            raise Closed("the consumer is closed")
        held = self._held.pop(delivery.message_id, None)
        if held is None:
            return
        self._acked[delivery.message_id] = self._clock()
        if len(self._acked) > _REMEMBERED:
            self._acked.popitem(last=False)
        lane, arrival = held
        await lane.ack(arrival.handle)

    async def release(self, delivery: Delivery) -> None:
        """Give a message back. Until the next `receive`, whatever else comes goes back too.

        Raises:
            transport.errors.Forked: another process opened it.
        """
        self._guard()
        if self._closed:
            return
        self._resting = True
        self._give_back(delivery.message_id)
        while self._ready:
            self._give_back(self._ready.popleft().message_id)
        self._ask()

    async def close(self) -> None:
        """Flush acks, give back everything unacked, and end every `receive`; see the port.

        Raises:
            transport.errors.BrokerDown: the broker did not answer; it gives everything back by itself.
        """
        self.stop()
        self._left(self)
        async with self._leaving:
            for end in await asyncio.gather(*(lane.close() for lane in self._lanes), return_exceptions=True):
                if isinstance(end, BaseException):
                    raise end

    def stop(self) -> None:
        """End every `receive`."""
        if self._closed:
            return
        self._closed = True
        for timer in self._early.values():
            timer.cancel()
        self._ready.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def arrived(self, lane: Lane, arrival: Arrival | None) -> None:
        """Take what a lane brings; None only tells that it has room for requests."""
        if arrival is not None and not self._closed:
            self._take(lane, arrival)
        if not self._asking:
            self._ask()

    def _take(self, lane: Lane, arrival: Arrival) -> None:
        message_id = arrival.message_id
        if self._clock() - self._acked.get(message_id, -math.inf) < _FORGOTTEN:
            lane.ack_again(arrival.handle)
        elif message_id in self._held:
            # The broker forgot that it is here. Of a batch, only acks by its newest ids count together.
            self._held[message_id] = (lane, arrival)
        else:
            self._held[message_id] = (lane, arrival)
            early = arrival.due - self._clock() if arrival.due else 0.0
            if 0 < early < _EARLY:
                timer = asyncio.get_running_loop().call_later(early, self._is_due, message_id)
                self._early[message_id] = timer
            elif self._resting and self._room() <= 0:
                self._give_back(message_id)
            else:
                self._put(message_id, lane, arrival)

    def _is_due(self, message_id: str) -> None:
        """Hand over a message that came early, or give it back when nobody wants it."""
        del self._early[message_id]
        if self._room() <= 0:
            self._give_back(message_id)
        elif message_id in self._held:
            self._put(message_id, *self._held[message_id])
        self._ask()

    def _give_back(self, message_id: str) -> None:
        held = self._held.pop(message_id, None)
        if held is not None:
            held[0].release(held[1].handle)

    def _ask(self) -> None:
        """Request as many messages as are waited for, from every lane, each time from another one first.

        A client that fetches ahead hands over what it holds while it is asked, so one request that is left open is
        enough to hear of more, and a busy topic wakes the loop once for many messages.
        """
        if self._asking or self._closed:
            return
        self._asking = True  # what is at hand arrives while it is asked for
        try:
            self._lanes.rotate(-1)
            for lane in tuple(self._lanes):
                while lane.pending < self._wanted():
                    lane.ask()
        finally:
            self._asking = False

    def _wanted(self) -> int:
        """Requests a lane should have under way."""
        if len(self._early) >= _MOST_EARLY:
            return 0
        if not self._prefetch:
            return self._room()
        # A client that fetches ahead does so while nobody receives, too: what it holds is asked for, to be given back.
        return 1 if self._resting or self._room() > 0 else 0

    def _room(self) -> int:
        """Calls of `receive` that nothing is at hand for."""
        return self._waiting - len(self._ready)

    def _put(self, message_id: str, lane: Lane, arrival: Arrival) -> None:
        self._ready.append(Delivery(message_id, lane.topic, arrival.payload))
        self._wake_one()

    async def _change(self) -> None:
        """Return after something was put into `_ready`. An `asyncio.Queue` takes as long for it as the client does."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            else:
                self._wake_one()  # it was this one's turn
            raise

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
