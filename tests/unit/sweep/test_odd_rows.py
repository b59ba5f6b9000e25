"""Rows of the backend's list that can be read: each ends with a verdict, or raises an alarm that names it."""

from __future__ import annotations

import asyncio

import pytest

from messages.codec import MAX_COUNT
from messages.codes import Code
from messages.keys import RunId
from producer.checks import backend_checks
from services.errors import CheckFailed
from services.unfinished import UnfinishedTask
from tasks.ending.finish import DELIVER_FOR_S
from tests.engine.virtual import EPOCH
from tests.unit.sweep.harness import SweepHarness

ODD = {
    "created in milliseconds": ("t9", "u1", 0, EPOCH * 1000),
    "created at 0": ("t9", "u1", 0, 0.0),
    "created before the epoch": ("t9", "u1", 0, -5.0),
    "created in the future": ("t9", "u1", 0, EPOCH + 86400),
    "created beyond all numbers": ("t9", "u1", 0, 1e300),
    "a task's id with a slash": ("../t", "u1", 0, EPOCH),
    "a task's id that is too long": ("t" * 65, "u1", 0, EPOCH),
    "a user's id with an at": ("t9", "u@example.com", 0, EPOCH),
    "nobody's id": ("t9", "-", 0, EPOCH),
    "a step below 0": ("t9", "u1", -1, EPOCH),
    "a step beyond all steps": ("t9", "u1", MAX_COUNT + 1, EPOCH),
}
odd_rows = pytest.mark.parametrize("row", [UnfinishedTask(*row, "basic_clean") for row in ODD.values()], ids=ODD)


@odd_rows
async def test_a_row_that_no_verdict_may_come_of_raises_an_alarm_that_names_it(
    harness: SweepHarness, row: UnfinishedTask, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.sleep(700)
    harness.backend.lost.append(row)
    swept = await harness.sweep()
    await harness.drain()
    assert swept.odd == 1
    (line,) = [record for record in caplog.records if record.getMessage() == "sweep.row_odd"]
    assert line.levelname == "ERROR"
    fields = line.__dict__["scf_fields"]
    assert (fields["task_id"], fields["step"]) == (row.task, row.step)
    assert fields["why"]
    # Its only effect is a wake: no dead letter every three minutes.
    assert await harness.dead_letters() == []


@odd_rows
async def test_the_doctor_names_such_a_row(harness: SweepHarness, row: UnfinishedTask) -> None:
    harness.backend.lost.append(row)
    check = backend_checks(harness.out.backend, clock=harness.now, nonce=harness.ledger.nonce)[0]
    with pytest.raises(CheckFailed, match=f"step {row.step}: ") as raised:
        await check.run()
    assert row.task[:40] in str(raised.value)


@pytest.mark.parametrize("name", ["-t", "_t", "--", "t-", "-" * 64])
async def test_ids_that_begin_with_a_dash_or_an_underscore_are_tasks_like_others(
    harness: SweepHarness, name: str
) -> None:
    created = harness.now()
    harness.backend.book.sell(name, name, 0, "basic_clean", "{}", created)
    await asyncio.sleep(harness.out.policy.upload_limit_s + 700)
    swept = await harness.sweep()
    assert (swept.woken, swept.odd, swept.errors) == (1, 0, 0)
    await harness.drain()
    run = RunId(name, name)
    assert (await harness.verdict(run)).code == Code.NOT_UPLOADED
    assert harness.state(run) == ("failed", 1, 1)


async def test_a_task_delivered_days_ago_and_listed_all_the_same_raises_an_alarm(
    harness: SweepHarness, caplog: pytest.LogCaptureFixture
) -> None:
    run = await harness.order()
    await harness.drain()
    harness.list_again(run)
    await asyncio.sleep(DELIVER_FOR_S + 3600)
    swept = await harness.sweep()
    assert (swept.given_up, swept.odd) == (1, 1)
    assert "sweep.row_odd" in caplog.messages
