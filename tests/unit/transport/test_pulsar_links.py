"""What the Pulsar adapter does when connections go and come: producers, consumers and their watchdog, on stand-ins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from tests.engine.virtual import VirtualLoop, virtually, wall
from transport.errors import BrokerDown, Closed
from transport.pulsar.broker import PulsarBroker
from transport.pulsar.native import NativeClient, NativeConsumer, NativeProducer
from transport.pulsar.options import PulsarOptions
from transport.pulsar.reconnecting_producer import ReconnectingProducer
from transport.pulsar.watchdog import AWAY, Watchdog

# ------------------------------------------------------------------------------------------------------------ watchdog


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
        watchdog, link, other = Watchdog(), Link(), Link()
        watchdog.watch(link)
        watchdog.watch(other)
        await asyncio.sleep(10)
        link.connected = False
        await asyncio.sleep(AWAY - 1)
        assert not link.renewed
        await asyncio.sleep(3)
        assert len(link.renewed) == 1
        assert link.connected
        await asyncio.sleep(30)
        assert (len(link.renewed), other.renewed) == (1, [])
        await watchdog.stop()

    virtually(body)


def test_a_renewal_that_fails_is_tried_again_soon() -> None:
    async def body() -> None:
        watchdog, link = Watchdog(), Link()
        watchdog.watch(link)
        link.connected, link.fails = False, 3
        await asyncio.sleep(AWAY + 10)
        assert link.connected
        assert len(link.renewed) == 4
        assert link.renewed[-1] - link.renewed[0] < 5
        await watchdog.stop()

    virtually(body)


def test_a_link_that_reconnects_by_itself_or_is_forgotten_is_left_alone() -> None:
    async def body() -> None:
        watchdog, link, gone = Watchdog(), Link(), Link()
        watchdog.watch(link)
        watchdog.watch(gone)
        link.connected = gone.connected = False
        await asyncio.sleep(AWAY - 2)
        link.connected = True
        watchdog.forget(gone)
        await asyncio.sleep(AWAY * 3)
        assert link.renewed == gone.renewed == []
        await watchdog.stop()

    virtually(body)


def test_after_a_freeze_the_client_has_its_time_to_reconnect() -> None:
    async def body() -> None:
        watchdog, link = Watchdog(), Link()
        watchdog.watch(link)
        await asyncio.sleep(3)
        cast("VirtualLoop", asyncio.get_running_loop())._leaping.elapsed += 600
        link.connected = False
        await asyncio.sleep(AWAY - 1)
        link.connected = True
        await asyncio.sleep(AWAY)
        assert not link.renewed
        await watchdog.stop()

    virtually(body)


# ------------------------------------------------------------------------------------------------------------ producer


class Producer:
    """Keeps what is sent until it is told the end."""

    def __init__(self) -> None:
        self.connected = True
        self.closed = False
        self.sent: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[str], Callable[[], None]]] = deque()

    async def send(self, payload: bytes, due: float | None, released: Callable[[], None]) -> str:
        self.sent.append(payload)
        receipt: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((receipt, released))
        return await receipt

    def confirm(self) -> None:
        receipt, released = self._waiting.popleft()
        released()
        if not receipt.done():
            receipt.set_result(f"id {len(self._waiting)}")

    async def close(self) -> None:
        self.closed = True
        for receipt, released in self._waiting:
            released()
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
    producer = await ReconnectingProducer.open(producers.make, 30.0)
    sending = [asyncio.ensure_future(producer.send(payload, None)) for payload in (b"1", b"2")]
    await asyncio.sleep(0)
    producers.made[0].confirm()
    await sending[0]
    await producer.renew()
    assert len(producers.made) == 1, "it came back by itself"
    producers.made[0].connected = False
    await producer.renew()
    await asyncio.sleep(0)
    assert producers.made[1].sent == [b"2"]
    producers.made[1].confirm()
    assert await sending[1] == "id 0"


def test_while_no_producer_can_be_made_messages_wait_but_not_for_ever() -> None:
    async def body() -> None:
        producers = Producers()
        producer = await ReconnectingProducer.open(producers.make, 30.0)
        producers.made[0].connected = False
        first = asyncio.ensure_future(producer.send(b"1", None))
        await asyncio.sleep(0)
        producers.fails = 2
        for _ in range(2):
            with pytest.raises(BrokerDown):
                await producer.renew()
            await asyncio.sleep(10)
        second = asyncio.ensure_future(producer.send(b"2", None))
        await asyncio.sleep(10.1)
        with pytest.raises(BrokerDown, match="no receipt from the broker in 30 s"):
            await first
        await producer.renew()
        await asyncio.sleep(0)
        assert producers.made[1].sent == [b"2"]
        producers.made[1].confirm()
        await second

    virtually(body)


async def test_a_producer_whose_subscription_cannot_be_made_does_not_stay_open() -> None:
    producers = Producers()

    class Client:
        async def producer(self, _topic: str) -> NativeProducer:
            return await producers.make()

        async def partitions(self, topic: str) -> list[str]:
            return [topic]

        async def consumer(self, *_: object) -> NativeConsumer:
            raise BrokerDown("no room for one more subscription")

        def close(self) -> None:
            """Nothing is open."""

    client = cast("NativeClient", Client())
    broker = PulsarBroker(PulsarOptions(url="pulsar://broker"), client, None, ThreadPoolExecutor(1), wall)
    for _ in range(3):
        with pytest.raises(BrokerDown):
            await broker.publish("clean-normal", b"1")
    assert [producer.closed for producer in producers.made] == [True] * 3
    await broker.close()


async def test_no_more_than_the_clients_room_is_sent_at_once_and_the_rest_waits() -> None:
    producers = Producers()
    producer = await ReconnectingProducer.open(producers.make, 30.0)
    total = NativeProducer.MAX_PENDING + 50
    sending = [asyncio.ensure_future(producer.send(b"x", None)) for _ in range(total)]
    await asyncio.sleep(0)
    only = producers.made[0]
    assert len(only.sent) == NativeProducer.MAX_PENDING
    sending[0].cancel()
    await asyncio.wait({sending[0]})
    await asyncio.sleep(0)
    assert len(only.sent) == NativeProducer.MAX_PENDING, "its place is free only after the client released the message"
    for _ in range(total):
        only.confirm()
        await asyncio.sleep(0)
    assert len(only.sent) == total
    assert len(await asyncio.gather(*sending[1:])) == total - 1


async def test_a_closed_producer_accepts_no_message_and_does_not_claim_that_nothing_was_stored() -> None:
    producers = Producers()
    producer = await ReconnectingProducer.open(producers.make, 30.0)
    sending = asyncio.ensure_future(producer.send(b"x", None))
    await asyncio.sleep(0)
    producer.close()
    with pytest.raises(Closed):
        await producer.send(b"y", None)
    await producers.made[0].close()
    with pytest.raises(BrokerDown):
        await sending
