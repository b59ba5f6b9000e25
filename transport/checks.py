"""What can be examined about any broker. Adapters list what fits them, with remedies of their own."""

from __future__ import annotations

import contextlib
from typing import Final

from messages.errors import ScfWorkersError
from messages.topics import DEAD_LETTER_TOPICS, FAILURE, WORK_TOPICS, WORKERS
from transport.port import Broker, Consumer

__all__ = ["backlog", "round_trip", "topics"]

_TOPIC: Final = "doctor"


async def round_trip(broker: Broker) -> str:
    """Publish a message, receive it and ack it, on a topic of its own."""
    sent = await broker.publish(_TOPIC, b"doctor")
    consumer = await broker.subscribe((_TOPIC,), _TOPIC)
    try:
        await _receive(consumer, sent)
    except BaseException:
        # Closing may fail for the same reason, which is the one to report.
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


async def topics(broker: Broker) -> str:
    """Join every subscription of every topic."""
    homes = [*((topic, WORKERS) for topic in WORK_TOPICS), *((topic, FAILURE) for topic in DEAD_LETTER_TOPICS)]
    for topic, subscription in homes:
        # Joined and left at once, it takes nothing.
        await (await broker.subscribe((topic,), subscription, prefetch=0)).close()
    return f"{len(homes)} topics, each with its subscription"


async def backlog(broker: Broker) -> str:
    """Ask what waits on the topic of `round_trip`."""
    return f"{(await broker.backlog(_TOPIC, _TOPIC)).depth} messages of other examinations wait"
