"""Backlog of every topic, from the broker."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from messages.topics import Topic
from transport.port import Backlog, Broker

__all__ = ["TopicBacklog", "read_backlogs"]


class TopicBacklog(msgspec.Struct, frozen=True):
    """Backlog of a topic."""

    topic: str
    subscription: str
    backlog: Backlog


async def read_backlogs(topics: Sequence[Topic], broker: Broker) -> list[TopicBacklog]:
    """Return the backlog of each topic, in order.

    Raises:
        transport.errors.BrokerDown: the broker did not answer.
    """
    # One at a time: some brokers have one connection for such questions.
    return [
        TopicBacklog(topic.name, topic.subscription, await broker.backlog(topic.name, topic.subscription))
        for topic in topics
    ]
