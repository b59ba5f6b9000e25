"""Smooth weighted round robin among waiting topics. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["WeightedRoundRobin"]


class WeightedRoundRobin:
    """Turns in proportion to weights, evenly spread, among the topics that wait.

    While the same topics wait, a topic of weight `w` gets `w` of every `sum of weights` turns; so none starves. A topic
    that does not wait gains no credit.

    Args:
        weights: topic -> weight, at least 1.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._credit = dict.fromkeys(weights, 0)

    def pick(self, ready: Collection[str]) -> str:
        """Return the topic whose turn it is.

        Args:
            ready: the waiting topics, at least one.
        """
        for topic in ready:
            self._credit[topic] += self._weights[topic]
        chosen = max(ready, key=lambda topic: (self._credit[topic], self._weights[topic]))
        self._credit[chosen] -= sum(self._weights[topic] for topic in ready)
        return chosen
