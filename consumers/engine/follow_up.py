"""The message that continues a run: same header, new stage, body, seq and delay."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from consumers.engine.retry import jittered
from messages.bodies import Body, Stage
from messages.codec import Header, Message
from telemetry.tracing import onward

__all__ = ["follow"]

_TIMELESS: Final = (Stage.NOTIFY, Stage.DEAD)


def follow(  # noqa: PLR0913 - a message is its parts
    header: Header,
    now: float,
    rng: random.Random,
    *,
    stage: Stage,
    body: Body,
    seq: int = 0,
    attempt: int = 0,
    delay: float = 0.0,
    isolated: bool = False,
) -> Message:
    """A message of the same run, to be published now.

    Args:
        header: of the message it follows.
        now: seconds since the epoch, by the store's clock.
        rng: for jitter.
        stage: of the new message.
        body: of the new message.
        seq: its number in its stage.
        attempt: how often this work was tried.
        delay: seconds until it is due; jittered, and cut to the run's deadline.
        isolated: whether it runs isolated (see `consumers.runners.dispatcher`).
    """
    created = int(now * 1000)
    wait = int(jittered(max(0.0, delay), rng) * 1000)
    deadline = 0
    if header.deadline and stage not in _TIMELESS:
        deadline = max(1, header.created + header.deadline - created)
        wait = min(wait, deadline)
    changed = msgspec.structs.replace(
        header,
        stage=stage.value,
        seq=seq,
        attempt=attempt,
        created=created,
        not_before=wait,
        deadline=deadline,
        traceparent=onward(header.traceparent),
        isolated=isolated,
    )
    return Message(changed, body)
