"""Fairness among users: how many pieces of work of one user a process does at once."""

from __future__ import annotations

from collections import Counter
from typing import Final

from messages.bodies import Stage
from messages.codec import Header

__all__ = ["PUT_OFF_LONGEST", "PUT_OFF_SHORTEST", "UserCap", "put_off_delay"]

PUT_OFF_SHORTEST: Final = 1.0
PUT_OFF_LONGEST: Final = 30.0

_CAPPED: Final = frozenset({Stage.CLEAN.value, Stage.GENERATE.value, Stage.COLLECT.value})
"""Stages that take their time. Looks at a vendor are short, and a verdict never waits."""


def put_off_delay(age: float) -> float:
    """Seconds until a message whose user has enough under way is looked at again: longer, the longer it has waited.

    Args:
        age: seconds since it was due.
    """
    return min(PUT_OFF_LONGEST, max(PUT_OFF_SHORTEST, age / 4))


class UserCap:
    """Counts what is under way for each user.

    Args:
        most: pieces of work of one user at once; 0 for no limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    def is_full(self, header: Header) -> bool:
        """Whether the user of a message must wait; never for messages of stages that are not capped."""
        return self._counts(header) and self._under_way[header.user] >= self._most

    def enter(self, header: Header) -> None:
        """Count a message that is worked on from now on."""
        if self._counts(header):
            self._under_way[header.user] += 1

    def leave(self, header: Header) -> None:
        """Count it no more."""
        if self._counts(header):
            self._under_way[header.user] -= 1
            if not self._under_way[header.user]:
                del self._under_way[header.user]

    def _counts(self, header: Header) -> bool:
        return self._most > 0 and header.stage in _CAPPED
