"""Weighted round robin: shares, evenness, no starvation."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from consumers.runners.round_robin import WeightedRoundRobin

WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1)


@given(WEIGHTS, st.integers(1, 5))
def test_shares_are_the_weights_while_all_wait(weights: dict[str, int], rounds: int) -> None:
    robin = WeightedRoundRobin(weights)
    total = sum(weights.values())
    picked = Counter(robin.pick(weights) for _ in range(total * rounds))
    assert picked == {topic: weight * rounds for topic, weight in weights.items()}


@given(WEIGHTS)
def test_a_topic_that_waits_gets_its_turn_within_one_round(weights: dict[str, int]) -> None:
    robin = WeightedRoundRobin(weights)
    total = sum(weights.values())
    picked = [robin.pick(weights) for _ in range(total * 3)]
    for topic in weights:
        at = [-1, *(index for index, name in enumerate(picked) if name == topic)]
        assert max(later - earlier for earlier, later in itertools.pairwise(at)) <= total


@given(WEIGHTS, st.lists(st.integers(1, 63), min_size=20, max_size=60))
def test_nobody_gathers_turns_by_being_away_and_nobody_who_waits_starves(
    weights: dict[str, int], presences: list[int]
) -> None:
    """The bits of a presence are the waiting topics."""
    robin = WeightedRoundRobin(weights)
    total = sum(weights.values())
    waited = dict.fromkeys(weights, 0)
    for bits in presences:
        ready = {topic for n, topic in enumerate("abcdef") if topic in weights and bits >> n & 1} or set(weights)
        chosen = robin.pick(ready)
        assert chosen in ready
        for topic in ready:
            waited[topic] = 0 if topic == chosen else waited[topic] + 1
            # Twice: its deficit from topics that came and went, and its deficit among the present ones.
            assert waited[topic] <= 2 * total


def test_one_in_ten_is_spread_and_not_bunched() -> None:
    robin = WeightedRoundRobin({"high": 6, "normal": 3, "low": 1})
    assert "".join(robin.pick({"high", "normal", "low"})[0] for _ in range(10)) == "hnhhnhlhnh"
