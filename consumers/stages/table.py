"""The table of stages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from consumers.engine.stage import StageFunction, of_body, of_task, of_task_if_marked
from consumers.stages.audit import audit
from consumers.stages.clean import clean
from consumers.stages.collect import collect
from consumers.stages.failure import failure
from consumers.stages.generate import generate
from consumers.stages.notify import notify
from consumers.stages.poll import poll
from consumers.stages.prompt import prompt
from consumers.stages.wake import wake
from messages.bodies import Audit, Clean, Collect, Dead, Generate, Notify, Poll, Prompt, Stage, Wake

__all__ = ["STAGES"]

STAGES: Final[Mapping[Stage, StageFunction]] = MappingProxyType(
    {
        Stage.CLEAN: of_task(Clean, clean),
        Stage.PROMPT: of_task(Prompt, prompt),
        Stage.GENERATE: of_task(Generate, generate),
        Stage.POLL: of_task_if_marked(Poll, poll),
        Stage.COLLECT: of_task(Collect, collect),
        Stage.AUDIT: of_task_if_marked(Audit, audit),
        Stage.WAKE: of_body(Wake, wake),
        Stage.NOTIFY: of_body(Notify, notify),
        Stage.DEAD: of_body(Dead, failure),
    }
)
"""Function and body type of each stage."""
