"""Time limits of the stages, and which messages create a mark before their work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from messages.bodies import Stage
from messages.codec import Header
from recipes.recipe import Recipe

__all__ = [
    "LIMITS",
    "MARK_EVERY",
    "PREPARE_LIMIT_S",
    "RESULT_SETTLE_LIMIT_S",
    "SETTLE_LIMIT_S",
    "is_marked",
    "limit_of",
]

MARK_EVERY: Final = 8
"""Polls whose seq is a multiple of it are marked: they read the ledger, the others only ask the vendor."""

LIMITS: Final[Mapping[str, float]] = {
    Stage.CLEAN: 60.0,
    Stage.GENERATE: 90.0,
    Stage.POLL: 15.0,
    Stage.COLLECT: 180.0,
    Stage.WAKE: 30.0,
    Stage.NOTIFY: 30.0,
    Stage.DEAD: 30.0,
}
"""Seconds a stage may work on one message; a recipe says its own for generate and collect."""

PREPARE_LIMIT_S: Final = 45.0
"""Seconds for what comes before a paid call, uploads included, so that the call itself always has its whole limit."""

SETTLE_LIMIT_S: Final = 15.0
"""Seconds for storing what a paid call brought."""

RESULT_SETTLE_LIMIT_S: Final = 120.0
"""Seconds for storing results that came with the answer: unlike an id, they can travel in no message."""

_ALWAYS_MARKED: Final = (Stage.CLEAN, Stage.GENERATE, Stage.COLLECT, Stage.NOTIFY)


def is_marked(header: Header) -> bool:
    """Whether a message creates a mark before its work; the others are light."""
    if header.stage == Stage.POLL:
        return header.seq % MARK_EVERY == 0
    return header.stage in _ALWAYS_MARKED


def limit_of(stage: str, recipe: Recipe | None) -> float:
    """Seconds the stage may work on one message."""
    if recipe is not None and stage == Stage.GENERATE:
        settle = RESULT_SETTLE_LIMIT_S if recipe.synchronous else SETTLE_LIMIT_S
        return PREPARE_LIMIT_S + recipe.create_limit_s + settle
    if recipe is not None and stage == Stage.COLLECT:
        return recipe.collect_limit_s
    return LIMITS[stage]
