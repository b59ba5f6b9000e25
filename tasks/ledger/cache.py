"""Records that this process has read or written: they are final, so they need not be read again.

An absence is never kept: another process may end it at any moment.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

__all__ = ["CAPACITY", "FinalCache"]

V = TypeVar("V")

CAPACITY: Final = 1024
"""Records of one process: some hundred runs, a few megabytes at most."""


class FinalCache(Generic[V]):
    """Keeps the values that were used last. A value never changes, so it is never stale.

    Args:
        capacity: how many values are kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._values: OrderedDict[str, V] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of values that are kept now."""
        return len(self._values)

    def get(self, key: str) -> V | None:
        """Return the value of a key; None if it is not kept."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: str, value: V) -> None:
        """Keep a value; the one that was used longest ago goes."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._capacity:
            self._values.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing."""
        self._values.clear()
