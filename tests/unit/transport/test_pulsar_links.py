"""Loss and return of connections in the Pulsar adapter: producers, consumers and their watchdog, with fakes."""

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


def test_a_link_is_renewed_only_after_it_stayed_disconnected() -> None:
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


def test_a_failed_renewal_is_repeated_soon() -> None:
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


def test_a_link_that_reconnects_or_is_forgotten_is_not_renewed() -> None:
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


def test_after_a_freeze_the_client_has_time_to_reconnect() -> None:
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
    """Keeps sent messages until the test confirms or fails them."""

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


async def test_unconfirmed_messages_are_sent_again_after_a_renewal() -> None:
    producers = Producers()
    producer = await ReconnectingProducer.open(producers.make, 30.0)
    sending = [asyncio.ensure_future(producer.send(payload, None)) for payload in (b"1", b"2")]
    await asyncio.sleep(0)
    producers.made[0].confirm()
    await sending[0]
    await producer.renew()
    assert len(producers.made) == 1, "it reconnected by itself"
    producers.made[0].connected = False
    await producer.renew()
    await asyncio.sleep(0)
    assert producers.made[1].sent == [b"2"]
    producers.made[1].confirm()
    assert await sending[1] == "id 0"


def test_without_a_producer_messages_wait_for_a_bounded_time() -> None:
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


async def test_a_producer_whose_subscription_cannot_be_created_is_closed() -> None:
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


async def test_the_number_of_unconfirmed_messages_is_bounded() -> None:
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


async def test_a_closed_producer_accepts_no_message_and_reports_a_send_under_way_as_down() -> None:
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
