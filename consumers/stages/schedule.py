"""Time of the next look at a vendor's job or at an audit. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["FIRST_LOOK", "LONGEST", "NOTIFY_FIRST", "NOTIFY_LONGEST", "next_audit", "next_poll", "notify_delay"]

FIRST_LOOK: Final = 0.8
"""Share of the expected time after which the first look comes."""

LONGEST: Final = 60.0
"""Seconds between two looks, at most."""

_AUDIT_LONGEST: Final = 30.0

NOTIFY_FIRST: Final = 5.0
NOTIFY_LONGEST: Final = 600.0


def next_poll(elapsed: float, expected: float) -> float:
    """Return the seconds until the next look.

    The first look comes when most of the expected time has passed; then ten in that time; then fewer, in proportion to
    the job's lateness.

    Args:
        elapsed: seconds since the job was created.
        expected: seconds it usually takes.
    """
    shortest = min(max(expected / 10, 0.5), 10.0)
    if elapsed < FIRST_LOOK * expected:
        return max(shortest, FIRST_LOOK * expected - elapsed)
    return min(LONGEST, max(shortest, (elapsed - expected) / 5))


def next_audit(looks: int) -> float:
    """Return the seconds until the next look at an audit of a video: from one, growing to half a minute."""
    return min(_AUDIT_LONGEST, 1.5 ** min(looks, 20))


def notify_delay(elapsed: float) -> float:
    """Return the seconds until the next callback, growing with the time since the first one failed, to ten minutes."""
    return min(NOTIFY_LONGEST, max(NOTIFY_FIRST, elapsed / 2))
