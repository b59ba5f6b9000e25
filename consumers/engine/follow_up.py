"""The message that continues a run: same header, new stage, body, seq and delay."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from consumers.engine.retry import jittered
from messages.bodies import Body, Stage
from messages.codec import Header, Message
from telemetry.tracing import onward

__all__ = ["COPY_FLOOR", "LATE_FLOOR", "follow", "real_delay"]

COPY_FLOOR: Final = 0.5
"""Least delay of a copy in seconds, so that no message can loop without a pause."""

LATE_FLOOR: Final = 5.0
"""Seconds below which a deadline cuts no delay."""

_TIMELESS: Final = (Stage.NOTIFY, Stage.DEAD)


def real_delay(delay: float, left: float | None) -> float:
    """Return the seconds until a message is due: the delay, cut to the deadline of its run.

    The cut leaves a floor, and a past deadline cuts nothing: otherwise a late run would be retried many times a second.

    Args:
        delay: wanted seconds.
        left: seconds until the deadline; None for none.
    """
    if left is None or left <= 0:
        return delay
    return min(delay, max(left, LATE_FLOOR))


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
    """Return a message of the same run, to be published now.

    Args:
        header: of the message it follows.
        now: seconds since the epoch, by the store's clock.
        rng: for jitter.
        stage: of the new message.
        body: of the new message.
        seq: its number in its stage.
        attempt: tries of this work so far.
        delay: seconds until it is due; jittered, and cut to the run's deadline (see `real_delay`).
        isolated: True if it runs isolated (see `consumers.runners.dispatcher`).
    """
    created = int(now * 1000)
    wait = jittered(max(0.0, delay), rng)
    deadline = 0
    if header.deadline and stage not in _TIMELESS:
        left = header.created + header.deadline - created
        deadline, wait = max(1, left), real_delay(wait, left / 1000)
    changed = msgspec.structs.replace(
        header,
        stage=stage.value,
        seq=seq,
        attempt=attempt,
        created=created,
        not_before=int(wait * 1000),
        deadline=deadline,
        traceparent=onward(header.traceparent),
        isolated=isolated,
    )
    return Message(changed, body)
