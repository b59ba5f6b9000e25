"""Thousands of short histories, each made by a seed; the promise is the oracle, and a failing seed replays."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter

import pytest

from tests.engine.history import History
from tests.engine.virtual import VirtualLoop

CHUNKS = 6
EACH = int(os.environ.get("HISTORIES", "480")) // CHUNKS
"""More of them, for a night: HISTORIES=1000000."""


def play(seed: int) -> History:
    history = History(seed)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        try:
            runner.run(history.play())
        except BaseException as error:
            reported = "\n  ".join(history.harness.reported[-60:])
            error.add_note(f"seed {seed}, {history.sale}, {sorted(history.excuses)}\n  {reported}")
            raise
    return history


def play_chunk(chunk: int) -> Counter[str]:
    """Play the histories of a chunk; return the faults that they met."""
    logging.disable(logging.CRITICAL)
    found: Counter[str] = Counter()
    try:
        for seed in range(chunk * EACH, (chunk + 1) * EACH):
            found.update(play(seed).excuses)
    finally:
        logging.disable(logging.NOTSET)
    return found


def test_histories_end_with_one_verdict_heard_alike_and_the_money_right() -> None:
    """Every kind of fault occurs: otherwise the test would prove nothing."""
    wanted = {"died", "frozen", "errors", "a message is lost", "lost", "a cancel", "the vendor fails", "an ack is lost"}
    assert wanted <= play_chunk(0).keys()


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(1, CHUNKS))
def test_every_history_ends_with_one_verdict_heard_alike_and_the_money_right(chunk: int) -> None:
    play_chunk(chunk)
