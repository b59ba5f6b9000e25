"""Features of Pulsar that affect delivery."""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus

import pulsar
import pytest

from tests.conformance.brokers.helpers import eventually, finish, publish_all, shows, take, within
from tests.pulsar.conftest import Opener
from tests.support.pulsar_place import Place
from transport.pulsar import PulsarBroker

pytestmark = pytest.mark.pulsar


async def unload(place: Place, namespace: str, topic: str) -> None:
    """Unload a topic, as the broker does when it moves load to another broker."""
    status = await asyncio.to_thread(place.ask, "PUT", f"/admin/v2/persistent/public/{namespace}/{topic}/unload")
    assert status == HTTPStatus.NO_CONTENT


async def test_a_topic_that_moves_delivers_no_held_or_acked_message_twice(
    opened: Opener, place: Place, namespace: str
) -> None:
    async with opened() as broker:
        consumer = await broker.subscribe(["poll"], "workers", prefetch=10)
        ids = await publish_all(broker, "poll", [b"x"] * 20)
        held = await take(consumer, 10)
        for delivery in held[:5]:
            await consumer.ack(delivery)
        await unload(place, namespace, "poll")
        rest = await finish(consumer, 10)
        assert {delivery.message_id for delivery in [*held, *rest]} == ids
        for delivery in held[5:]:
            await consumer.ack(delivery)
        last = await broker.publish("poll", b"last")
        assert [delivery.message_id for delivery in await finish(consumer, 1)] == [last]
        await shows(broker, "poll", ready=0, delayed=0, in_flight=0)


async def test_a_dead_letter_survives_the_brokers_cleanup(opened: Opener, place: Place, namespace: str) -> None:
    topic = "poll-workers-DLQ"
    async with opened() as broker:
        ids = await publish_all(broker, topic, [b"1", b"2"])
        # Messages without a subscription are removed with their ledger when the next one is open.
        await unload(place, namespace, topic)
        ids.add(await broker.publish(topic, b"3"))
        trim = f"/admin/v2/persistent/public/{namespace}/{topic}/trim"
        assert await asyncio.to_thread(place.ask, "POST", trim) == HTTPStatus.OK
        consumer = await broker.subscribe([topic], "failure")
        assert {delivery.message_id for delivery in await finish(consumer, 3)} == ids


async def test_a_topic_with_partitions_is_one_topic(opened: Opener, place: Place, namespace: str) -> None:
    path = f"/admin/v2/persistent/public/{namespace}/wake/partitions"
    assert await asyncio.to_thread(place.ask, "PUT", path, b"3") == HTTPStatus.NO_CONTENT
    async with opened() as broker:
        ids = await publish_all(broker, "wake", [b"x"] * 12)
        await broker.publish("wake", b"later", delay=3600)
        await shows(broker, "wake", ready=12, delayed=1, in_flight=0)
        consumer = await broker.subscribe(["wake"], "workers", prefetch=0)
        deliveries = await finish(consumer, 12)
        assert {delivery.message_id for delivery in deliveries} == ids
        assert {delivery.topic for delivery in deliveries} == {"wake"}
        assert len({message_id.split(":")[0] for message_id in ids}) == 3, "every partition got messages"
        await shows(broker, "wake", ready=0, delayed=1, in_flight=0)


async def test_messages_of_another_programs_batch_are_delivered_one_by_one(
    opened: Opener, place: Place, namespace: str
) -> None:
    def publish() -> None:
        token = pulsar.AuthenticationToken(place.token) if place.token else None
        client = pulsar.Client(place.url, authentication=token)
        producer = client.create_producer(
            f"persistent://public/{namespace}/wake", batching_enabled=True, batching_max_publish_delay_ms=1000
        )
        for number in range(10):
            producer.send_async(str(number).encode(), lambda *_: None)
        producer.flush()
        client.close()

    async with opened() as broker:
        consumer = await broker.subscribe(["wake"], "workers", prefetch=1)
        await asyncio.to_thread(publish)
        deliveries = await finish(consumer, 10)
        assert {delivery.payload for delivery in deliveries} == {str(number).encode() for number in range(10)}
        assert len({delivery.message_id for delivery in deliveries}) == 10
        await shows(broker, "wake", ready=0, in_flight=0)


async def test_more_concurrent_publishes_than_the_clients_queue_holds_all_succeed(opened: Opener) -> None:
    async with opened() as broker:
        ids = await publish_all(broker, "poll", [b"x"] * 3000)
        assert len(ids) == 3000


async def test_a_long_backlog_without_a_consumer_is_a_good_estimate(opened: Opener) -> None:
    async with opened() as broker:
        await asyncio.gather(*(broker.publish("poll", b"x", delay=3600 if number % 2 else 0) for number in range(200)))
        backlog = await broker.backlog("poll", "workers")
        assert (backlog.depth, backlog.in_flight) == (200, 0)
        assert 50 <= backlog.delayed <= 150


@pytest.mark.own_pulsar
async def test_equal_delays_block_a_topic_which_is_why_ours_have_jitter(opened: Opener) -> None:
    # Our broker of the tests stops at 500 where Pulsar as shipped stops at 50,000; `tests/conformance` jitters 1,000.
    async with opened() as broker:
        consumer = await broker.subscribe(["poll"], "workers")
        for _ in range(6):
            await publish_all(broker, "poll", [b"later"] * 100, delay=3600)
        await broker.publish("poll", b"fresh")
        with pytest.raises(TimeoutError):
            await within(consumer.receive(), 2)


async def test_without_an_admin_interface_a_backlog_counts_what_this_connection_holds(opened: Opener) -> None:
    async with opened(admin_url="") as broker:
        consumer = await broker.subscribe(["poll", "wake"], "workers", prefetch=0)
        await publish_all(broker, "poll", [b"x"] * 3)
        await take(consumer, 2)
        assert (await broker.backlog("poll", "workers")).in_flight == 2
        assert (await broker.backlog("wake", "workers")).depth == 0


async def test_a_consumer_that_releases_leaves_all_messages_to_others(opened: Opener) -> None:
    async with opened() as broker:
        stopping = await broker.subscribe(["clean-high"], "workers", prefetch=5)
        ids = await publish_all(broker, "clean-high", [b"x"] * 8)
        held = await take(stopping, 2)
        heir = await broker.subscribe(["clean-high"], "workers", prefetch=1)
        await stopping.release(held[0])
        # The message in work is kept; prefetched messages are released too.
        got = {delivery.message_id for delivery in await finish(heir, 7)}
        assert got == ids - {held[1].message_id}
        await stopping.ack(held[1])
        await shows(broker, "clean-high", ready=0, in_flight=0)


async def test_a_consumer_reports_whether_it_is_connected(opened: Opener, place: Place, namespace: str) -> None:
    async with opened() as broker:
        consumer = await broker.subscribe(["poll", "wake"], "workers")
        assert consumer.connected
        await unload(place, namespace, "poll")

        async def back() -> bool:
            return consumer.connected

        await eventually(back)
        await broker.publish("poll", b"x")
        await finish(consumer, 1)
        await consumer.close()
        assert not consumer.connected


async def test_closing_many_consumers_at_once_flushes_every_ack(opened: Opener) -> None:
    async with opened() as broker, opened() as judge:
        topics = ["clean-high", "clean-normal", "clean-low", "wake"]
        consumers = [await broker.subscribe([topic], "workers", prefetch=20) for topic in topics]
        for topic in topics:
            await publish_all(broker, topic, [b"x"] * 20)
        for consumer in consumers:
            await finish(consumer, 20)
        await within(_close(broker))
        heir = await judge.subscribe(topics, "workers")
        sent = {await judge.publish(topic, b"new") for topic in topics}
        came = await finish(heir, 4)
        assert Counter(delivery.message_id for delivery in came) == Counter(sent)


async def _close(broker: PulsarBroker) -> None:
    await broker.close()
