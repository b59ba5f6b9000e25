"""Topics taken by weight, on the embedded broker and virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from consumers.runners.dispatcher import HOLD_S
from consumers.runners.weighted_consumer import SETTLE_S, WeightedConsumer
from transport import open_broker
from transport.errors import BrokerDown, Closed
from transport.port import Broker, Delivery

WEIGHTS = {"high": 6, "normal": 3, "low": 1}


async def consumer(broker: Broker, weights: dict[str, int] = WEIGHTS) -> WeightedConsumer:
    return WeightedConsumer(
        {topic: await broker.subscribe([topic], "workers", prefetch=0) for topic in weights}, weights
    )


async def fill(broker: Broker, **counts: int) -> None:
    for topic, count in counts.items():
        for _ in range(count):
            await broker.publish(topic, topic.encode())


async def take(source: WeightedConsumer, count: int, pause: float = 0.0) -> list[str]:
    taken = []
    for _ in range(count):
        delivery = await source.receive()
        await source.ack(delivery)
        taken.append(delivery.topic)
        await asyncio.sleep(pause)
    return taken


# The last pause outlasts the messages at hand: by then they are released, and the round robin begins again.
@pytest.mark.parametrize("pause", [0.0, 0.3, HOLD_S * 3])
async def test_topics_that_all_wait_are_taken_by_weight(pause: float) -> None:
    broker = await open_broker("sqlite:///:memory:")
    await fill(broker, high=60, normal=60, low=60)
    assert Counter(await take(await consumer(broker), 50, pause)) == {"high": 30, "normal": 15, "low": 5}
    await broker.close()


async def test_a_topic_alone_is_taken_without_waiting_for_the_others() -> None:
    broker = await open_broker("sqlite:///:memory:")
    await fill(broker, low=40)
    started = asyncio.get_running_loop().time()
    assert await take(await consumer(broker), 40) == ["low"] * 40
    assert asyncio.get_running_loop().time() - started <= 40 * SETTLE_S * 1.1
    await broker.close()


async def test_what_nobody_here_has_room_for_goes_back_to_another_worker() -> None:
    broker = await open_broker("sqlite:///:memory:")
    await fill(broker, high=1, normal=1, low=1)
    busy, free = await consumer(broker), await consumer(broker)
    assert (await busy.receive()).topic == "high"
    assert {(await free.receive()).topic for _ in range(2)} == {"normal", "low"}
    assert asyncio.get_running_loop().time() >= HOLD_S
    await broker.close()


async def test_several_that_wait_share_what_comes() -> None:
    broker = await open_broker("sqlite:///:memory:")
    source = await consumer(broker)
    calls = [asyncio.create_task(source.receive()) for _ in range(5)]
    await asyncio.sleep(1)
    await fill(broker, high=2, low=3)
    found = await asyncio.wait_for(asyncio.gather(*calls), 5)
    assert Counter(delivery.topic for delivery in found) == {"high": 2, "low": 3}
    assert len({delivery.message_id for delivery in found}) == 5
    await broker.close()


async def test_a_cancelled_call_loses_nothing() -> None:
    broker = await open_broker("sqlite:///:memory:")
    source = await consumer(broker)
    came = 0
    for wait in (0.0, SETTLE_S / 2, SETTLE_S, 0.05):
        call = asyncio.create_task(source.receive())
        await asyncio.sleep(0)
        await fill(broker, normal=1)
        await asyncio.sleep(wait)
        call.cancel()
        (end,) = await asyncio.gather(call, return_exceptions=True)
        came += isinstance(end, Delivery)
    assert came < 4
    assert await asyncio.wait_for(take(source, 4 - came), 30) == ["normal"] * (4 - came)
    await broker.close()


async def test_closing_ends_every_call_and_gives_everything_back() -> None:
    broker = await open_broker("sqlite:///:memory:")
    source = await consumer(broker)
    await fill(broker, high=2, normal=1)
    kept = await source.receive()
    calls = [asyncio.create_task(source.receive()) for _ in range(4)]
    await asyncio.sleep(0.5)
    await source.close()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(end) for end in ends} == {Delivery, Closed}
    assert not source.connected
    with pytest.raises(Closed):
        await source.receive()
    with pytest.raises(Closed):
        await source.ack(kept)
    assert Counter(await take(await consumer(broker), 3)) == {"high": 2, "normal": 1}
    await broker.close()


async def test_a_broker_that_is_away_is_told_of_and_asked_again() -> None:
    broker = await open_broker("sqlite:///:memory:")

    class Flickering:
        connected = True
        away = 2

        def __init__(self, inner: object) -> None:
            self.inner = inner

        async def receive(self) -> Delivery:
            if self.away:
                self.away -= 1
                raise BrokerDown("away")
            return await self.inner.receive()  # type: ignore[attr-defined, no-any-return]

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    inner = {topic: await broker.subscribe([topic], "workers", prefetch=0) for topic in WEIGHTS}
    source = WeightedConsumer({**inner, "low": Flickering(inner["low"])}, WEIGHTS)  # type: ignore[dict-item]
    await fill(broker, low=1)
    for _ in range(2):
        with pytest.raises(BrokerDown):
            await source.receive()
    assert (await source.receive()).topic == "low"
    await source.close()
    await broker.close()
