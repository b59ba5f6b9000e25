"""Fairness among users: how many pieces of work of one user a process does at once."""

from __future__ import annotations

from collections import Counter
from typing import Final

from messages.bodies import Stage
from messages.codec import Header

__all__ = ["UserCap"]

_CAPPED: Final = frozenset({Stage.CLEAN.value, Stage.GENERATE.value, Stage.COLLECT.value})
"""Stages that take their time. Looks at a vendor are short, and a verdict never waits."""


class UserCap:
    """Counts what is under way for each user.

    Args:
        most: pieces of work of one user at once; 0 for no limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    def counted(self, header: Header) -> str:
        """Return the user that a message counts for; empty for stages without a cap."""
        return header.user if self._most and header.stage in _CAPPED else ""

    def is_full(self, user: str) -> bool:
        """Return True if the next message of a user must wait."""
        return self._under_way[user] >= self._most

    def enter(self, user: str) -> None:
        """Count a message that is worked on from now on."""
        self._under_way[user] += 1

    def leave(self, user: str) -> None:
        """Count it no more."""
        self._under_way[user] -= 1
        if not self._under_way[user]:
            del self._under_way[user]
