"""What the Pulsar adapter does when connections go and come: producers, consumers and their keeper, on stand-ins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from tests.engine.virtual import VirtualLoop, wall
from transport.errors import BrokerDown, Closed
from transport.port import Delivery
from transport.pulsar.consumer import PulsarConsumer
from transport.pulsar.keeper import AWAY, Keeper
from transport.pulsar.lane import Lane
from transport.pulsar.native import Arrival, NativeConsumer, NativeProducer, Wakeups
from transport.pulsar.outlet import Outlet


def virtually(body: Callable[[], Awaitable[None]]) -> None:
    """Run on virtual time."""

    async def run() -> None:
        await body()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


# -------------------------------------------------------------------------------------------------------------- keeper


class Link:
    def __init__(self) -> None:
        self.connected = True
        self.renewed: list[float] = []
        self.fails = 0

    async def renew(self) -> None:
        self.renewed.append(asyncio.get_running_loop().time())
        if self.fails:
            self.fails -= 1
            raise BrokerDown("not yet")
        self.connected = True


def test_a_link_is_renewed_when_it_stays_away_and_not_before() -> None:
    async def body() -> None:
        keeper, link, other = Keeper(), Link(), Link()
        keeper.watch(link)
        keeper.watch(other)
        await asyncio.sleep(10)
        link.connected = False
        await asyncio.sleep(AWAY - 1)
        assert not link.renewed
        await asyncio.sleep(3)
        assert len(link.renewed) == 1
        assert link.connected
        await asyncio.sleep(30)
        assert (len(link.renewed), other.renewed) == (1, [])
        await keeper.stop()

    virtually(body)


def test_a_renewal_that_fails_is_tried_again_soon() -> None:
    async def body() -> None:
        keeper, link = Keeper(), Link()
        keeper.watch(link)
        link.connected, link.fails = False, 3
        await asyncio.sleep(AWAY + 10)
        assert link.connected
        assert len(link.renewed) == 4
        assert link.renewed[-1] - link.renewed[0] < 5
        await keeper.stop()

    virtually(body)


def test_a_link_that_reconnects_by_itself_or_is_forgotten_is_left_alone() -> None:
    async def body() -> None:
        keeper, link, gone = Keeper(), Link(), Link()
        keeper.watch(link)
        keeper.watch(gone)
        link.connected = gone.connected = False
        await asyncio.sleep(AWAY - 2)
        link.connected = True
        keeper.forget(gone)
        await asyncio.sleep(AWAY * 3)
        assert link.renewed == gone.renewed == []
        await keeper.stop()

    virtually(body)


def test_after_a_freeze_the_client_has_its_time_to_reconnect() -> None:
    async def body() -> None:
        keeper, link = Keeper(), Link()
        keeper.watch(link)
        await asyncio.sleep(3)
        cast("VirtualLoop", asyncio.get_running_loop())._leaping.elapsed += 600
        link.connected = False
        await asyncio.sleep(AWAY - 1)
        link.connected = True
        await asyncio.sleep(AWAY)
        assert not link.renewed
        await keeper.stop()

    virtually(body)


# -------------------------------------------------------------------------------------------------------------- outlet


class Producer:
    """Keeps what is sent until it is told the end."""

    def __init__(self) -> None:
        self.connected = True
        self.sent: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[str], Callable[[], None]]] = deque()

    async def send(self, payload: bytes, due: float | None, settled: Callable[[], None]) -> str:
        self.sent.append(payload)
        receipt: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((receipt, settled))
        return await receipt

    def confirm(self) -> None:
        receipt, settled = self._waiting.popleft()
        settled()
        if not receipt.done():
            receipt.set_result(f"id {len(self._waiting)}")

    async def close(self) -> None:
        for receipt, settled in self._waiting:
            settled()
            if not receipt.done():
                receipt.set_exception(Closed("closed"))


class Producers:
    def __init__(self) -> None:
        self.made: list[Producer] = []
        self.fails = 0

    async def make(self) -> NativeProducer:
        if self.fails:
            self.fails -= 1
            raise BrokerDown("not yet")
        self.made.append(Producer())
        return cast("NativeProducer", self.made[-1])


async def test_what_a_renewed_producer_had_not_confirmed_is_sent_again() -> None:
    producers = Producers()
    outlet = await Outlet.open(producers.make, 30.0)
    sending = [asyncio.ensure_future(outlet.send(payload, None)) for payload in (b"1", b"2")]
    await asyncio.sleep(0)
    producers.made[0].confirm()
    await sending[0]
    await outlet.renew()
    assert len(producers.made) == 1, "it came back by itself"
    producers.made[0].connected = False
    await outlet.renew()
    await asyncio.sleep(0)
    assert producers.made[1].sent == [b"2"]
    producers.made[1].confirm()
    assert await sending[1] == "id 0"


def test_while_no_producer_can_be_made_messages_wait_but_not_for_ever() -> None:
    async def body() -> None:
        producers = Producers()
        outlet = await Outlet.open(producers.make, 30.0)
        producers.made[0].connected = False
        first = asyncio.ensure_future(outlet.send(b"1", None))
        await asyncio.sleep(0)
        producers.fails = 2
        for _ in range(2):
            with pytest.raises(BrokerDown):
                await outlet.renew()
            await asyncio.sleep(10)
        second = asyncio.ensure_future(outlet.send(b"2", None))
        await asyncio.sleep(10.1)
        with pytest.raises(BrokerDown, match="no receipt in 30 s"):
            await first
        await outlet.renew()
        await asyncio.sleep(0)
        assert producers.made[1].sent == [b"2"]
        producers.made[1].confirm()
        await second

    virtually(body)


async def test_no_more_than_the_clients_room_is_sent_at_once_and_the_rest_waits() -> None:
    producers = Producers()
    outlet = await Outlet.open(producers.make, 30.0)
    total = NativeProducer.ROOM + 50
    sending = [asyncio.ensure_future(outlet.send(b"x", None)) for _ in range(total)]
    await asyncio.sleep(0)
    only = producers.made[0]
    assert len(only.sent) == NativeProducer.ROOM
    sending[0].cancel()
    await asyncio.wait({sending[0]})
    await asyncio.sleep(0)
    assert len(only.sent) == NativeProducer.ROOM, "its place is free only when the client has let go of the message"
    for _ in range(total):
        only.confirm()
        await asyncio.sleep(0)
    assert len(only.sent) == total
    assert len(await asyncio.gather(*sending[1:])) == total - 1


async def test_a_closed_outlet_lets_nobody_in_and_does_not_claim_that_nothing_was_stored() -> None:
    producers = Producers()
    outlet = await Outlet.open(producers.make, 30.0)
    sending = asyncio.ensure_future(outlet.send(b"x", None))
    await asyncio.sleep(0)
    outlet.close()
    with pytest.raises(Closed):
        await outlet.send(b"y", None)
    await producers.made[0].close()
    with pytest.raises(BrokerDown):
        await sending


# ------------------------------------------------------------------------------------------------------------ consumer


class Message:
    """As the client's own."""

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
    """A native consumer."""

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


class House:
    """A consumer on one topic, and the sources it has had."""

    def __init__(self, prefetch: int = 1) -> None:
        self.sources = [Source()]
        self.consumer = PulsarConsumer(wall, prefetch, lambda: None, lambda _: None)
        self.lane = Lane("poll", cast("NativeConsumer", self.sources[0]), self._make, 0, self.consumer.arrived)
        self.consumer.add(self.lane)

    async def _make(self, queue: int) -> NativeConsumer:
        self.sources.append(Source())
        return cast("NativeConsumer", self.sources[-1])

    async def renew(self) -> None:
        self.sources[-1].connected = False
        await self.lane.renew()

    async def receive(self, entry: int, due: float = 0.0) -> Delivery:
        receiving = asyncio.ensure_future(self.consumer.receive())
        await asyncio.sleep(0)
        self.sources[-1].bring(entry, due)
        return await receiving


def test_a_message_at_hand_that_comes_again_is_not_handed_out_twice() -> None:
    async def body() -> None:
        house = House()
        held = await house.receive(1)
        await house.renew()
        assert house.sources[0].closed
        receiving = asyncio.ensure_future(house.consumer.receive())
        await asyncio.sleep(0)
        fresh = house.sources[1]
        fresh.bring(1)
        assert len(fresh.asked) == 1, "it asks on: what came was not what is waited for"
        fresh.bring(2)
        assert (await receiving).payload == b"2"
        await house.consumer.ack(held)
        assert fresh.acked == [1]
        assert not fresh.released

    virtually(body)


def test_a_message_that_was_acked_and_comes_again_is_acked_again() -> None:
    async def body() -> None:
        house = House()
        await house.consumer.ack(await house.receive(1))
        await house.renew()
        receiving = asyncio.ensure_future(house.consumer.receive())
        await asyncio.sleep(0)
        house.sources[1].bring(1)
        house.sources[1].bring(2)
        assert (await receiving).payload == b"2"
        assert house.sources[1].acked == [1]

    virtually(body)


def test_what_waits_for_a_message_goes_on_waiting_over_a_renewal() -> None:
    async def body() -> None:
        house = House()
        receiving = asyncio.ensure_future(house.consumer.receive())
        await asyncio.sleep(0)
        late = house.sources[0].asked[0]
        await house.renew()
        late(Arrival(Message(8)))  # from a connection that is gone: the broker delivers it again
        house.sources[1].bring(9)
        assert (await receiving).payload == b"9"
        assert house.consumer.held == {"poll": 1}

    virtually(body)


def test_a_message_that_comes_early_is_kept_until_it_is_due() -> None:
    async def body() -> None:
        house, loop = House(), asyncio.get_running_loop()
        receiving = asyncio.ensure_future(house.consumer.receive())
        await asyncio.sleep(0)
        house.sources[0].bring(1, due=wall() + 0.9)
        house.sources[0].bring(2)
        assert (await receiving).payload == b"2"
        assert (await house.consumer.receive()).payload == b"1"
        assert loop.time() == pytest.approx(0.9, abs=0.002)
        # By another clock it would never be due: who works on it looks itself.
        assert (await house.receive(3, due=wall() + 600)).payload == b"3"
        assert loop.time() < 1

    virtually(body)


def test_early_messages_do_not_heap_up() -> None:
    async def body() -> None:
        house = House()
        receiving = asyncio.ensure_future(house.consumer.receive())
        await asyncio.sleep(0)
        source, number = house.sources[0], 0
        while source.asked:
            number += 1
            source.bring(number, due=wall() + 1)
        assert number == 64
        await receiving
        await asyncio.sleep(0.1)
        # Due by now, and nobody here has room for them: another worker may.
        assert len(source.released) == 63
        assert not source.asked
        waiting = asyncio.ensure_future(house.consumer.receive())
        await asyncio.sleep(0)
        source.bring(65)
        assert (await waiting).payload == b"65"

    virtually(body)


@pytest.mark.parametrize("prefetch", [0, 1])
def test_a_resting_consumer_gives_back_whatever_comes(prefetch: int) -> None:
    async def body() -> None:
        house = House(prefetch)
        source = house.sources[0]
        receiving = [asyncio.ensure_future(house.consumer.receive()) for _ in range(2)]
        await asyncio.sleep(0)
        source.bring(1)
        held = await receiving[0]
        receiving[1].cancel()
        await asyncio.wait({receiving[1]})
        await house.consumer.release(held)
        source.bring(2)
        assert source.released == [1, 2]
        assert len(source.asked) == prefetch, "what the client fetches ahead is asked for, to be given back"
        again = asyncio.ensure_future(house.consumer.receive())
        await asyncio.sleep(0)
        source.bring(1)
        assert await again == held

    virtually(body)


def test_a_closed_consumer_hands_out_nothing_more() -> None:
    async def body() -> None:
        house = House()
        receiving = asyncio.ensure_future(house.consumer.receive())
        await asyncio.sleep(0)
        house.sources[0].bring(1, due=wall() + 1)
        await house.consumer.close()
        await house.consumer.close()
        with pytest.raises(Closed):
            await receiving
        await asyncio.sleep(5)
        with pytest.raises(Closed):
            await house.consumer.receive()

    virtually(body)


@pytest.mark.parametrize("due", ["", "soon", "1.5", "-1", "9" * 5000, "１７"])
def test_a_due_time_that_somebody_else_wrote_means_at_once(due: str) -> None:
    message = Message(1)
    message.properties = lambda: {"due": due}  # type: ignore[method-assign]
    assert Arrival(message).due == 0.0


def test_a_call_that_fails_does_not_hold_up_those_behind_it() -> None:
    async def body() -> None:
        wakeups, done = Wakeups(), asyncio.Event()
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

        def fails() -> None:
            raise ZeroDivisionError

        def from_outside() -> None:
            wakeups.call(fails)
            wakeups.call(done.set)

        await asyncio.to_thread(from_outside)
        await asyncio.wait_for(done.wait(), 5)
        assert [type(error) for error in told] == [ZeroDivisionError]

    asyncio.run(body())
