"""The one table of stages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from consumers.engine.engine import StageFunction
from consumers.stages.clean import clean
from consumers.stages.collect import collect
from consumers.stages.failure import failure
from consumers.stages.generate import generate
from consumers.stages.notify import notify
from consumers.stages.poll import poll
from consumers.stages.wake import wake
from messages.bodies import Stage

__all__ = ["STAGES"]

STAGES: Final[Mapping[Stage, StageFunction]] = MappingProxyType(
    {
        Stage.CLEAN: clean,
        Stage.GENERATE: generate,
        Stage.POLL: poll,
        Stage.COLLECT: collect,
        Stage.WAKE: wake,
        Stage.NOTIFY: notify,
        Stage.DEAD: failure,
    }
)
"""What each stage does."""
