"""Thousands of short histories, each made by a seed; the promise is the oracle, and a failing seed replays."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter

import pytest

from tests.engine.history import History
from tests.engine.virtual import VirtualLoop

CHUNKS = 4
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


@pytest.mark.parametrize("chunk", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, CHUNKS))])
def test_every_history_ends_with_one_verdict_heard_alike_and_the_money_right(chunk: int) -> None:
    logging.disable(logging.CRITICAL)
    try:
        for seed in range(chunk * EACH, (chunk + 1) * EACH):
            play(seed)
    finally:
        logging.disable(logging.NOTSET)


def test_the_histories_are_rich_enough_to_find_something() -> None:
    """Each kind of trouble is met, and most tasks still succeed: else nothing would be proved."""
    logging.disable(logging.CRITICAL)
    try:
        found: Counter[str] = Counter()
        for seed in range(80):
            found.update(play(seed).excuses)
    finally:
        logging.disable(logging.NOTSET)
    wanted = {"died", "frozen", "errors", "a message is lost", "lost", "a cancel", "the vendor fails", "an ack is lost"}
    assert wanted <= found.keys()
