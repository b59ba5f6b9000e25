"""Whose turn it is among topics that wait: smooth weighted round robin. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["WeightedRoundRobin"]


class WeightedRoundRobin:
    """Gives turns in proportion to weights, evenly spread, among those that want one.

    Over any stretch in which the same topics want turns, a topic of weight `w` gets `w` of every `sum of weights`; so
    none starves. One that wants nothing gains no credit.

    Args:
        weights: topic -> weight, at least 1.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._credit = dict.fromkeys(weights, 0)

    def pick(self, ready: Collection[str]) -> str:
        """The topic whose turn it is.

        Args:
            ready: those that want a turn, at least one.
        """
        for topic in ready:
            self._credit[topic] += self._weights[topic]
        chosen = max(ready, key=lambda topic: (self._credit[topic], self._weights[topic]))
        self._credit[chosen] -= sum(self._weights[topic] for topic in ready)
        return chosen
