"""The ledger's listing of every run of a step."""

from __future__ import annotations

from messages.keys import RunId, record_key, runs_prefix
from tasks.ledger.records import Accepted, ReopenDenied, Verdict
from tests.unit.sweep.harness import SweepHarness

ACCEPTED = Accepted("basic_clean", {}, (), 1.0, 2.0)


async def test_a_trail_has_the_runs_of_one_step_and_of_no_other(harness: SweepHarness) -> None:
    mine = RunId("u1", "t1", 1, 0)
    again = RunId("u1", "t1", 1, 1)
    for run in (mine, again, RunId("u1", "t1", 11, 0), RunId("u1", "t1", 0, 0), RunId("u1", "t11", 1, 0)):
        await harness.ledger.write(run, Accepted.at(), ACCEPTED)
    await harness.ledger.write(mine, Verdict.at(), Verdict("failed", "timeout"))
    await harness.ledger.write(again, ReopenDenied.at(), ReopenDenied())
    now = 1_750_000_000.0
    assert await harness.ledger.trail(mine) == {
        0: {"accepted": now, "verdict": now},
        1: {"accepted": now, "reopen_denied": now},
    }


async def test_what_is_no_record_is_left_out(harness: SweepHarness) -> None:
    run = RunId("u1", "t1")
    await harness.ledger.objects.put(f"{runs_prefix(run)}x/accepted", b"{}")
    await harness.ledger.objects.put(f"{runs_prefix(run)}0", b"{}")
    assert await harness.ledger.trail(run) == {}


def test_the_prefix_is_that_of_the_records() -> None:
    run = RunId("u1", "t1", 3, 4)
    assert record_key(run, "verdict") == f"{runs_prefix(run)}4/verdict"
