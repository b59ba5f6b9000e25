"""Histories of replays by seed, and the planted defects that they must find."""

from __future__ import annotations

import pytest

from tests.simulation.replay_defects import DEFECTS, planted
from tests.simulation.replays import play

FEW = 6
MANY = 306
CHUNKS = 5
WITHIN = 60
"""A change of the product may give a seed another history; a defect must be found in one of so many."""


def _play(seeds: range) -> set[str]:
    """Play some histories; what became of tasks and which faults were met."""
    seen: set[str] = set()
    for seed in seeds:
        report = play(seed)
        assert not report.violations, "\n".join([f"seed {seed}", *report.events, *report.violations])
        seen |= {*report.ends, *report.faults}
    return seen


def test_a_few_replays_keep_the_promise() -> None:
    seen = _play(range(FEW))
    assert {"success, run 1", "crash", "error"} <= seen


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_many_replays_keep_the_promise(chunk: int) -> None:
    each = (MANY - FEW) // CHUNKS
    first = FEW + chunk * each
    _play(range(first, first + each))


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_of_replays_is_found(name: str) -> None:
    with planted(name):
        assert any(play(seed).violations for seed in range(WITHIN)), f"{DEFECTS[name].says}: broken, and not found"


def test_a_seed_is_one_history() -> None:
    assert play(7).events == play(7).events
