"""Lines of the log about a task: each has the task's id and a trace id, whichever module logs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from services.vendors.port import JobState
from tasks.ending.cancel import cancel_task
from tasks.wakes import SWEEP, publish_wake
from telemetry.events import Event
from tests.engine.standins import Plan
from tests.telemetry.kept import TelemetryHarness, play
from tests.telemetry.test_journey import buy, success


async def fails(harness: TelemetryHarness) -> None:
    harness.vendor.plans.append(Plan(end=JobState.FAILED))
    await buy(harness)


async def is_cancelled(harness: TelemetryHarness) -> None:
    run = await harness.order()
    await harness.pass_by("poll")
    await cancel_task(run, harness.out)
    await harness.drain()


async def is_cancelled_before_its_upload(harness: TelemetryHarness) -> None:
    run = await harness.upload()
    await cancel_task(run, harness.out)
    await harness.drain()


async def is_swept(harness: TelemetryHarness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await consumer.ack(delivery)
    await publish_wake(run, SWEEP, harness.out.broker, harness.now(), keys=harness.out.keys)
    await harness.drain()


HISTORIES = [success, fails, is_cancelled, is_cancelled_before_its_upload, is_swept]


@pytest.mark.parametrize("history", HISTORIES)
def test_each_line_about_a_task_names_the_task_and_its_trace(
    history: Callable[[TelemetryHarness], Awaitable[None]],
) -> None:
    kept = play(history)
    ends = {line["event"] for line in kept.lines}
    assert ends & {Event.VERDICT_WRITTEN, Event.VERDICT_FOUND}
    halves = [line for line in kept.lines if ("task_id" in line) != ("trace_id" in line)]
    assert halves == []
