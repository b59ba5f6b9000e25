"""Time limits of the stages, and which messages create a mark before their work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from consumers.engine.retry import MAX_ATTEMPTS
from messages.bodies import Stage
from messages.codec import Header
from recipes.recipe import Recipe

__all__ = [
    "LIMITS",
    "MARK_EVERY",
    "PREPARE_LIMIT_S",
    "RESULT_SETTLE_LIMIT_S",
    "SETTLE_LIMIT_S",
    "UNPAID_REST_S",
    "is_guarded",
    "is_marked",
    "limit_of",
    "may_run_again_at",
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

UNPAID_REST_S: Final = 5.0
"""Seconds until work that pays for nothing is done again though its first process may live: twice is harmless."""

_PAID: Final = (Stage.GENERATE,)
_GUARDED: Final = (Stage.POLL, Stage.WAKE)
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


def is_guarded(header: Header, waited: float, *, holder_died: bool) -> bool:
    """Whether a message creates a mark before its work, by its stage or because it may have killed a process.

    A message that kills its process comes again and again, later each time; were it light for ever, nothing would count
    that. So a light one is marked too where it is a crash copy, where its holder died, and where it comes later than a
    process that lives would take.

    Args:
        header: of the message.
        waited: seconds since it was due.
        holder_died: as the broker says, see `transport.port.Delivery`.
    """
    if is_marked(header):
        return True
    return header.stage in _GUARDED and (header.isolated or holder_died or waited > LIMITS[header.stage])


def may_run_again_at(header: Header, begun: float, limit_s: float, now: float, *, holder_died: bool) -> float:
    """When work that an earlier process began may be done again; seconds since the epoch.

    The copy after the last attempt is a dead letter: while that attempt may still end well, its whole limit is waited.

    Args:
        header: of the message that was begun.
        begun: seconds since the epoch.
        limit_s: seconds after which its writer is taken for dead.
        now: seconds since the epoch.
        holder_died: as the broker says, see `transport.port.Delivery`.
    """
    if holder_died:
        return now
    over = begun + limit_s
    whole = header.stage in _PAID or header.attempt + 1 >= MAX_ATTEMPTS
    return over if whole else min(over, now + UNPAID_REST_S)
