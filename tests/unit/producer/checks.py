"""Checks of the fate of an upload, for the tests of the intake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messages.bodies import Clean, Notify, Stage
from messages.codes import Code
from messages.keys import InputKey, RunId
from tasks.ledger.records import InputRef, Verdict
from telemetry.tracing import is_valid

if TYPE_CHECKING:
    from services.objects.port import ObjectInfo
    from tests.unit.producer.conftest import Harness

RUN = RunId("u1", "t1")
PHOTO = InputKey("u1", "t1", "original.jpg")
TASK_FILE = InputKey("u1", "t1", "task.json")


async def assert_accepted(
    harness: Harness, *inputs: ObjectInfo, kind: str = "model_pose12", seconds: int = 1800
) -> None:
    accepted = await harness.accepted()
    assert accepted is not None
    assert accepted.kind == kind
    assert accepted.inputs == tuple(InputRef(info.key, info.etag, info.size) for info in inputs)
    assert (accepted.created, accepted.deadline) == (harness.now, harness.now + seconds)
    assert is_valid(accepted.traceparent)
    assert await harness.verdict() is None
    (message,) = await harness.sent()
    header = message.header
    assert (header.stage, header.run_id, header.seq, header.attempt) == (Stage.CLEAN, RUN, 0, 0)
    assert (header.kind, header.traceparent) == (kind, accepted.traceparent)
    assert header.deadline_at == accepted.deadline
    assert message.body == Clean()


async def assert_refused(harness: Harness, code: Code) -> None:
    assert await harness.accepted() is None
    assert await harness.verdict() == Verdict("failed", code)
    (message,) = await harness.sent()
    assert (message.header.stage, message.header.run_id) == (Stage.NOTIFY, RUN)
    assert message.header.deadline_at is None
    assert isinstance(message.body, Notify)
    assert not (await harness.records.list("index/")).items


async def assert_nothing_said(harness: Harness) -> None:
    """The task's owner was not proved: no verdict, so no callback and no refund."""
    assert not (await harness.records.list("")).items
    assert await harness.sent() == []
