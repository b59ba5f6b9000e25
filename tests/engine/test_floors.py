"""No delay is so short that a message spins, whatever its run, its clock or its store says."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.engine.effects import Effects
from consumers.engine.follow_up import COPY_FLOOR, LATE_FLOOR, real_delay
from consumers.engine.outcomes import Retry, Snooze
from messages.codec import decode
from messages.codes import Code
from recipes.model_pose12 import MODEL_POSE12
from services.errors import Denied, Forbidden, ObjectsDown
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness
from tests.engine.virtual import wall


@pytest.mark.parametrize("stage", ["clean", "generate", "poll", "collect"])
async def test_a_late_run_whose_ledger_is_refused_rests(harness: Harness, stage: str) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    await asyncio.sleep(MODEL_POSE12.deadline_s + 60)
    harness.injector.strike(
        rf"^ledger\..* ledger/{run.user}/{run.task}/", *[raises(Forbidden("AccessDenied"))] * 10_000
    )
    began, before = harness.now(), len(harness.wire.sent)
    await harness.run(delivery, consumer)
    while harness.now() < began + 300:
        await harness.step()
    copies = [sent.header for sent in harness.wire.sent[before:]]
    assert len(copies) <= 300 / LATE_FLOOR
    assert min(copy.not_before for copy in copies) >= LATE_FLOOR * 1000
    harness.injector.clear()
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)


@pytest.mark.parametrize("stage", ["clean", "generate", "collect"])
async def test_a_machine_whose_clock_is_hours_ahead_neither_spins_nor_makes_others_wait(
    harness: Harness, stage: str
) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    before = len(harness.wire.sent)

    async def refuse() -> None:
        raise Denied("RequestTimeTooSkewed", date=wall())

    harness.jump = 5 * 3600.0
    harness.injector.strike(r"^ledger\.", *[refuse] * 10)
    began = wall()
    await harness.run(delivery, consumer)
    for _ in range(9):
        await harness.step()
    assert wall() - began >= 9 * LATE_FLOOR
    assert max(sent.header.due_at for sent in harness.wire.sent[before:]) < wall() + 60
    harness.jump = 0.0
    harness.injector.clear()
    await harness.drain()
    await harness.promise(run, "success")


async def test_the_log_has_the_delay_that_was_published(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    await harness.order()
    delivery, consumer = await harness.until("clean")
    caplog.set_level("INFO")
    harness.injector.strike("objects.process", raises(ObjectsDown("away", retry_after=1e6)))
    await harness.run(delivery, consumer)
    (copy,) = [header for header in harness.sent("clean") if header.seq == 1]
    (line,) = [record for record in caplog.records if record.getMessage() == "message.snoozed"]
    assert line.__dict__["scf_fields"]["delay"] == copy.not_before / 1000 < 1e5


@given(delay=st.floats(0, 1e6), left=st.none() | st.floats(-1e6, 1e6))
def test_a_deadline_cuts_a_delay_but_never_below_the_floor(delay: float, left: float | None) -> None:
    real = real_delay(delay, left)
    assert real <= delay
    assert real >= min(delay, LATE_FLOOR)
    if left is not None and left >= LATE_FLOOR:
        assert real <= left


@pytest.mark.parametrize("outcome", [Snooze(0.0), Retry(0.0)])
async def test_a_copy_is_never_due_at_once(harness: Harness, outcome: Snooze | Retry) -> None:
    await harness.order()
    delivery, _ = await harness.until("clean")
    await Effects(harness.out, harness.pauses).carry_out(outcome, decode(delivery.payload), delivery)
    assert harness.sent("clean")[-1].not_before >= COPY_FLOOR * 1000
