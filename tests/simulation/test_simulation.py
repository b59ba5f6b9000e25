"""A whole deployment on virtual time, many histories; each is made by a seed, and the promise is the oracle."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from tests.simulation.history import play
from tests.simulation.summary import Summary, timeline_of

FEW = 20
SEEDS = int(os.environ.get("SIMULATE", "300"))
CHUNKS = 14
EACH = (SEEDS - FEW) // CHUNKS


def _play(seeds: Iterable[int]) -> Summary:
    summary = Summary()
    for seed in seeds:
        report = play(seed)
        assert not report.violations, "\n".join(timeline_of(report))
        summary.add(Summary.of(report))
    return summary


def test_a_few_histories_keep_the_promise() -> None:
    _play(range(FEW))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_many_histories_keep_the_promise(chunk: int) -> None:
    first = FEW + chunk * EACH
    _play(range(first, first + EACH))


def test_a_seed_is_one_history() -> None:
    first, again = (tuple(timeline_of(play(5), ["none"])) for _ in range(2))
    assert first == again


@pytest.mark.slow
def test_histories_are_rich_enough_to_find_something() -> None:
    """Each kind of fault is met, and most tasks still succeed: else nothing would be proved."""
    # In the last ones a vendor fails a job of which every result is needed, which is rare.
    summary = _play((*range(1000, 1060), 1189, 1190))
    missing = {
        "ack lost",
        "backend error",
        "backend forgets",
        "broker error",
        "broker restart",
        "cancel",
        "cancel at the backend",
        "crash",
        "files error",
        "forged webhook",
        "forgetful vendor",
        "freeze",
        "message early",
        "message late",
        "message lost",
        "message twice",
        "outage",
        "redeploy",
        "second holder",
        "slow answer",
        "slow backend",
        "store error",
        "vendor error",
    } - summary.faults.keys()
    assert not missing
    assert summary.verdicts["success"] > summary.tasks / 2
    assert {"failed timeout", "failed vendor_failed", "failed vendor_unknown"} <= summary.verdicts.keys()
