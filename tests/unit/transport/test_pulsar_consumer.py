"""Consumer of the Pulsar adapter: delivery, early messages, release; with fakes of the client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.engine.virtual import virtually, wall
from tests.support.patience import PATIENCE_S
from transport.errors import Closed
from transport.port import Delivery
from transport.pulsar.consumer import PulsarConsumer
from transport.pulsar.native import Arrival, NativeConsumer, Wakeups
from transport.pulsar.topic_consumer import TopicConsumer


class Message:
    """Fake of the client's message."""

    def __init__(self, entry: int, due: float = 0.0) -> None:
        self._entry = entry
        self._due = due

    def message_id(self) -> Any:
        return self

    def ledger_id(self) -> int:
        return 7

    def entry_id(self) -> int:
        return self._entry

    def batch_index(self) -> int:
        return -1

    def data(self) -> bytes:
        return str(self._entry).encode()

    def properties(self) -> dict[str, str]:
        return {"due": str(int(self._due * 1000))} if self._due else {}


class Source:
    """Fake of a native consumer."""

    def __init__(self) -> None:
        self.connected = True
        self.acked: list[int] = []
        self.released: list[int] = []
        self.asked: deque[Callable[[Arrival | None], None]] = deque()
        self.closed = False

    def receiver(self, then: Callable[[Arrival | None], None]) -> Callable[[], None]:
        return lambda: self.asked.append(then)

    def bring(self, entry: int, due: float = 0.0) -> None:
        self.asked.popleft()(Arrival(Message(entry, due)))

    async def ack(self, message: Any) -> None:
        if self.closed:
            raise Closed("closed")
        self.acked.append(message.entry_id())

    def ack_again(self, message: Any) -> None:
        self.acked.append(message.entry_id())

    def release(self, message: Any) -> None:
        self.released.append(message.entry_id())

    async def close(self) -> None:
        if self.closed:
            raise Closed("closed")
        self.closed = True
        for then in self.asked:
            then(None)


class ConsumerRig:
    """A consumer of one topic, and its native consumers so far."""

    def __init__(self, prefetch: int = 1) -> None:
        self.sources = [Source()]
        self.consumer = PulsarConsumer(wall, prefetch, lambda: None, lambda _: None)
        native = cast("NativeConsumer", self.sources[0])
        self.topic_consumer = TopicConsumer("poll", native, self._make, 0, self.consumer.arrived)
        self.consumer.add(self.topic_consumer)

    async def _make(self, queue: int) -> NativeConsumer:
        self.sources.append(Source())
        return cast("NativeConsumer", self.sources[-1])

    async def renew(self) -> None:
        self.sources[-1].connected = False
        await self.topic_consumer.renew()

    async def receive(self, entry: int, due: float = 0.0) -> Delivery:
        receiving = asyncio.ensure_future(self.consumer.receive())
        await asyncio.sleep(0)
        self.sources[-1].bring(entry, due)
        return await receiving


def test_a_held_message_that_is_redelivered_is_delivered_once() -> None:
    async def body() -> None:
        rig = ConsumerRig()
        held = await rig.receive(1)
        await rig.renew()
        assert rig.sources[0].closed
        receiving = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        fresh = rig.sources[1]
        fresh.bring(1)
        assert len(fresh.asked) == 1, "the receive still waits, so it requests again"
        fresh.bring(2)
        assert (await receiving).payload == b"2"
        await rig.consumer.ack(held)
        assert fresh.acked == [1]
        assert not fresh.released

    virtually(body)


def test_an_acked_message_that_is_redelivered_is_acked_again() -> None:
    async def body() -> None:
        rig = ConsumerRig()
        await rig.consumer.ack(await rig.receive(1))
        await rig.renew()
        receiving = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        rig.sources[1].bring(1)
        rig.sources[1].bring(2)
        assert (await receiving).payload == b"2"
        assert rig.sources[1].acked == [1]

    virtually(body)


def test_an_id_that_a_wiped_broker_reuses_is_a_new_message() -> None:
    async def body() -> None:
        rig = ConsumerRig()
        await rig.consumer.ack(await rig.receive(1))
        await asyncio.sleep(601)
        await rig.renew()
        assert (await rig.receive(1)).payload == b"1"

    virtually(body)


def test_a_waiting_receive_continues_after_a_renewal() -> None:
    async def body() -> None:
        rig = ConsumerRig()
        receiving = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        late = rig.sources[0].asked[0]
        await rig.renew()
        late(Arrival(Message(8)))  # from a connection that is gone: the broker delivers it again
        rig.sources[1].bring(9)
        assert (await receiving).payload == b"9"
        assert rig.consumer.held == {"poll": 1}

    virtually(body)


def test_an_early_message_is_kept_until_it_is_due() -> None:
    async def body() -> None:
        rig, loop = ConsumerRig(), asyncio.get_running_loop()
        receiving = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        rig.sources[0].bring(1, due=wall() + 0.9)
        rig.sources[0].bring(2)
        assert (await receiving).payload == b"2"
        assert (await rig.consumer.receive()).payload == b"1"
        assert loop.time() == pytest.approx(0.9, abs=0.002)
        # The difference comes from another clock: the engine checks the due time.
        assert (await rig.receive(3, due=wall() + 600)).payload == b"3"
        assert loop.time() < 1

    virtually(body)


def test_the_number_of_early_messages_is_bounded() -> None:
    async def body() -> None:
        rig = ConsumerRig()
        receiving = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        source, number = rig.sources[0], 0
        while source.asked:
            number += 1
            source.bring(number, due=wall() + 1)
        assert number == 64
        await receiving
        await asyncio.sleep(0.1)
        # Due, but no receive waits: release it for another worker.
        assert len(source.released) == 63
        assert not source.asked
        waiting = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        source.bring(65)
        assert (await waiting).payload == b"65"

    virtually(body)


@pytest.mark.parametrize("prefetch", [0, 1])
def test_after_a_release_every_arriving_message_is_released(prefetch: int) -> None:
    async def body() -> None:
        rig = ConsumerRig(prefetch)
        source = rig.sources[0]
        receiving = [asyncio.ensure_future(rig.consumer.receive()) for _ in range(2)]
        await asyncio.sleep(0)
        source.bring(1)
        held = await receiving[0]
        receiving[1].cancel()
        await asyncio.wait({receiving[1]})
        await rig.consumer.release(held)
        source.bring(2)
        assert source.released == [1, 2]
        assert len(source.asked) == prefetch, "prefetched messages are requested, to be released"
        again = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        source.bring(1)
        assert await again == held

    virtually(body)


@pytest.mark.parametrize("prefetch", [0, 5])
def test_a_consumer_with_prefetch_keeps_one_request_open_and_another_one_for_each_receive(prefetch: int) -> None:
    async def body() -> None:
        rig = ConsumerRig(prefetch)
        waiting = [asyncio.ensure_future(rig.consumer.receive()) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(rig.sources[0].asked) == (1 if prefetch else 3)
        for entry in range(3):
            rig.sources[0].bring(entry)
        assert {(await one).payload for one in waiting} == {b"0", b"1", b"2"}
        assert not rig.sources[0].asked, "no receive waits"

    virtually(body)


@pytest.mark.parametrize("late", [False, True])
def test_a_cancelled_receive_leaves_its_message_to_the_next_one(*, late: bool) -> None:
    async def body() -> None:
        rig = ConsumerRig()
        first, second = (asyncio.ensure_future(rig.consumer.receive()) for _ in range(2))
        await asyncio.sleep(0)
        if late:
            rig.sources[0].bring(1)
        first.cancel()
        await asyncio.wait([first])
        if not late:
            rig.sources[0].bring(1)
        assert (await second).payload == b"1"

    virtually(body)


def test_a_new_receive_may_be_first_and_the_waiting_one_gets_the_next_message() -> None:
    async def body() -> None:
        rig = ConsumerRig()
        waiting = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        rig.sources[0].bring(1)
        assert (await rig.consumer.receive()).payload == b"1"
        await asyncio.sleep(0)
        rig.sources[0].bring(2)
        assert (await waiting).payload == b"2"

    virtually(body)


def test_a_closed_consumer_delivers_nothing() -> None:
    async def body() -> None:
        rig = ConsumerRig()
        receiving = asyncio.ensure_future(rig.consumer.receive())
        await asyncio.sleep(0)
        rig.sources[0].bring(1, due=wall() + 1)
        await rig.consumer.close()
        await rig.consumer.close()
        with pytest.raises(Closed):
            await receiving
        await asyncio.sleep(5)
        with pytest.raises(Closed):
            await rig.consumer.receive()

    virtually(body)


@pytest.mark.parametrize("due", ["", "soon", "1.5", "-1", "9" * 5000, "１７"])
def test_a_malformed_due_time_means_due_at_once(due: str) -> None:
    message = Message(1)
    message.properties = lambda: {"due": due}  # type: ignore[method-assign]
    assert Arrival(message).due == 0.0


def test_a_failing_callback_does_not_delay_the_next_ones() -> None:
    async def body() -> None:
        wakeups, done = Wakeups(), asyncio.Event()
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        def fails() -> None:
            raise ZeroDivisionError

        def from_outside() -> None:
            wakeups.call(fails)
            wakeups.call(done.set)

        await asyncio.to_thread(from_outside)
        await asyncio.wait_for(done.wait(), PATIENCE_S)
        assert [type(error) for error in reported] == [ZeroDivisionError]

    asyncio.run(body())
