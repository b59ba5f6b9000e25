"""Outcome and delay of each error. Pure."""

from __future__ import annotations

import random
from typing import Final

from consumers.engine.outcomes import Outcome, Reject, Retry, Snooze, dead_lettered
from messages.bodies import Reason
from messages.errors import RetryClass, ScfWorkersError
from services.errors import ObjectsDown

__all__ = [
    "BASE_DELAY",
    "FLOOR_DELAY",
    "JITTER",
    "MAX_ATTEMPTS",
    "MAX_DELAY",
    "MOST_JITTER_S",
    "OUTAGE_DELAY",
    "OUTAGE_LONGEST",
    "OUTAGE_PAUSE",
    "PUT_BACK_DELAY",
    "PUT_BACK_FOR",
    "backoff",
    "is_young",
    "jittered",
    "outage_delay",
    "outcome_of",
]

MAX_ATTEMPTS: Final = 5
"""Tries of one piece of work: attempts 0 to 4."""

BASE_DELAY: Final = 2.0
"""Seconds; doubles with each attempt."""

MAX_DELAY: Final = 120.0
"""Longest backoff in seconds."""

FLOOR_DELAY: Final = 1.0
"""Shortest backoff in seconds: attempts are never spent within a moment."""

OUTAGE_DELAY: Final = 15.0
"""Seconds until a message tries a failed service again; grows with each try."""

OUTAGE_LONGEST: Final = 40.0
"""Longest delay between two tries in an outage, in seconds, unless the service asks for more."""

OUTAGE_PAUSE: Final = 5.0
"""Seconds for which a topic pauses when a service as such is down."""

PUT_BACK_DELAY: Final = 15.0
"""Delay in seconds of a message that this build cannot read: another build may take it meanwhile."""

PUT_BACK_FOR: Final = 600.0
"""Age in seconds up to which such a message is published again: a rolling deployment takes less."""

_AHEAD: Final = 60.0
"""Seconds by which the clock of the message's writer may be ahead: an unchecked header may have any time."""

JITTER: Final = 0.2
"""Share by which a delay is stretched at random: a herd of equal delays stalls a stock Pulsar, jitter cures that."""

MOST_JITTER_S: Final = 30.0
"""Seconds by which a delay is stretched at most: one of many minutes, such as that to a last call, must not reach into
the time kept for the work after it."""


def jittered(delay: float, rng: random.Random) -> float:
    """Return the delay, stretched by up to a fifth and `MOST_JITTER_S`; never shorter than asked."""
    return delay + min(JITTER * delay, MOST_JITTER_S) * rng.random()


def backoff(attempt: int, rng: random.Random, retry_after: float | None = None) -> float:
    """Return the seconds until the next attempt: exponential, jittered down to a floor, never before Retry-After."""
    ceiling = min(MAX_DELAY, BASE_DELAY * float(1 << min(attempt, 10)))
    return max(retry_after or 0.0, FLOOR_DELAY + (ceiling - FLOOR_DELAY) * rng.random())


def is_young(age: float) -> bool:
    """Return True while a message that this build cannot read is published again for another build.

    Args:
        age: seconds since the message says that it was made.
    """
    return -_AHEAD <= age < PUT_BACK_FOR


def outage_delay(waits: int, retry_after: float | None = None) -> float:
    """Return the seconds until the next try of a service that is down, before jitter.

    Args:
        waits: earlier waits of this work.
        retry_after: seconds that the service asked us to wait, if any.
    """
    return max(min(OUTAGE_LONGEST, OUTAGE_DELAY * (1 + waits / 2)), retry_after or 0.0)


def outcome_of(error: Exception, attempt: int, rng: random.Random, waits: int = 0) -> Outcome:
    """Return the outcome of an error in a stage; `docs/reliability.md` has the table of all errors.

    Args:
        error: the stage's exception; one outside our tree is a defect, and retried like a transient error.
        attempt: of the message.
        rng: for jitter.
        waits: earlier waits of this work.
    """
    ours = error if isinstance(error, ScfWorkersError) else ScfWorkersError()
    match ours.retry:
        case RetryClass.REJECTED:
            return Reject(ours.code)
        case RetryClass.OUTAGE | RetryClass.UNKNOWN:
            delay = jittered(outage_delay(waits, ours.retry_after), rng)
            # While the store is down nothing can be recorded.
            why = "" if isinstance(ours, ObjectsDown) else type(ours).__name__
            return Snooze(delay, pause=jittered(OUTAGE_PAUSE, rng) if ours.whole_service else 0.0, why=why)
        case RetryClass.PERMANENT:
            return dead_lettered(Reason.PERMANENT, error)
        case RetryClass.TRANSIENT:
            if attempt + 1 >= MAX_ATTEMPTS:
                return dead_lettered(Reason.ATTEMPTS, error)
            return Retry(max(ours.least_delay, backoff(attempt, rng, ours.retry_after)))
