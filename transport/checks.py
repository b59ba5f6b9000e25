"""Checks that suit any broker. Each adapter lists those that apply to it, with its own remedies."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from messages.errors import ScfWorkersError
from messages.topics import Topic
from transport.port import Broker, Consumer

__all__ = ["backlog", "round_trip", "topics"]

_TOPIC: Final = "doctor"


async def round_trip(broker: Broker, _: Sequence[Topic]) -> str:
    """Publish a message, receive it and ack it, on a topic that only this check uses."""
    sent = await broker.publish(_TOPIC, b"doctor")
    consumer = await broker.subscribe((_TOPIC,), _TOPIC)
    try:
        await _receive(consumer, sent)
    except BaseException:
        # The close may fail for the same reason; report the first error.
        with contextlib.suppress(ScfWorkersError):
            await consumer.close()
        raise
    await consumer.close()
    return "a message was published, delivered and acked"


async def _receive(consumer: Consumer, sent: str) -> None:
    got = ""
    while got != sent:
        delivery = await consumer.receive()
        await consumer.ack(delivery)
        got = delivery.message_id


async def topics(broker: Broker, table: Sequence[Topic]) -> str:
    """Join and leave the subscription of every topic of a table."""
    for topic in table:
        # With a prefetch of 0 the consumer takes no message.
        await (await broker.subscribe((topic.name,), topic.subscription, prefetch=0)).close()
    return f"{len(table)} topics, each with its subscription"


async def backlog(broker: Broker, table: Sequence[Topic]) -> str:
    """Read the backlog of every topic of a table."""
    found = [await broker.backlog(topic.name, topic.subscription) for topic in table]
    ready, delayed = sum(one.ready for one in found), sum(one.delayed for one in found)
    oldest = max((one.oldest_age for one in found if one.ready), default=0.0)
    age = f", the oldest of them for {oldest:.0f} s" if ready else ""
    return f"{ready} messages are due{age}, and {delayed} wait for their time"
