"""The table of stages: each stage gets the body that its messages are decoded to."""

from __future__ import annotations

from typing import Any, cast

import pytest

from consumers.engine.outcomes import Leave, Outcome
from consumers.engine.stage import of_body, of_task
from consumers.stages.table import STAGES
from messages.bodies import BODIES, Clean, Poll, Stage, Wake
from messages.codec import Header, Message, new_header
from messages.errors import InvalidMessage, Permanent
from messages.keys import RunId
from tasks.context import Services

SERVICES = cast("Services", None)


def message(stage: Stage, body: Any) -> Message:
    return Message(new_header(RunId("u", "t"), stage, 1.0), body)


async def leave(_header: Header, _body: Wake, _services: Services) -> Outcome:
    return Leave()


async def clean(_header: Header, _body: Clean, _task: object, _services: Services) -> Outcome:
    return Leave()


def test_every_stage_is_in_the_table() -> None:
    assert {stage.value for stage in STAGES} == set(BODIES)


@pytest.mark.parametrize("stage", [*STAGES])
def test_no_stage_takes_the_body_of_another(stage: Stage) -> None:
    other = Wake("sweep") if stage is not Stage.WAKE else Poll((), 0)
    with pytest.raises((InvalidMessage, Permanent)):
        STAGES[stage](message(stage, other), None, SERVICES)


async def test_a_stage_gets_its_body() -> None:
    assert await of_body(Wake, leave)(message(Stage.WAKE, Wake("sweep")), None, SERVICES) == Leave()


def test_a_stage_that_needs_its_task_does_not_begin_without() -> None:
    with pytest.raises(Permanent, match="needs its task"):
        of_task(Clean, clean)(message(Stage.CLEAN, Clean()), None, SERVICES)
