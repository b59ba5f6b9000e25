"""Time limits of the stages, and the choice of messages that create a mark before their work."""

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
    "PROMPT_MARGIN_S",
    "RESULT_SETTLE_LIMIT_S",
    "SETTLE_LIMIT_S",
    "UNPAID_REST_S",
    "is_guarded",
    "is_marked",
    "limit_of",
    "longest_limit_of",
    "may_run_again_at",
    "runs_isolated",
]

MARK_EVERY: Final = 8
"""Polls and audits whose seq is a multiple of it are marked: such a poll reads the ledger, the others only ask the
vendor."""

LIMITS: Final[Mapping[str, float]] = {
    Stage.CLEAN: 60.0,
    Stage.PROMPT: 90.0,
    Stage.GENERATE: 90.0,
    Stage.POLL: 15.0,
    Stage.COLLECT: 180.0,
    Stage.AUDIT: 60.0,
    Stage.WAKE: 30.0,
    Stage.NOTIFY: 30.0,
    Stage.DEAD: 30.0,
}
"""Seconds that a stage may work on one message; a recipe has its own for prompt, generate and collect."""

_CLEAN_VIDEO_S: Final = 180.0
"""The same for a clean that may fetch and copy a video."""

_LABEL_VIDEO_S: Final = 180.0
"""The same for an audit of videos, which may copy them with their labels."""

PREPARE_LIMIT_S: Final = 45.0
"""Seconds for the work before a paid call, uploads included, so that the call itself always has its whole limit."""

PROMPT_MARGIN_S: Final = 30.0
"""Seconds beside the question to the chat model: its pictures' URLs, the audit of the text, its record."""

SETTLE_LIMIT_S: Final = 15.0
"""Seconds for storing the answer of a paid call."""

RESULT_SETTLE_LIMIT_S: Final = 120.0
"""Seconds for storing results that came with the answer: unlike an id, a message cannot carry them."""

UNPAID_REST_S: Final = 5.0
"""Seconds until unpaid work is repeated although its first process may be alive: a repeat is harmless."""

_PAID: Final = (Stage.GENERATE,)
_LOOKS: Final = (Stage.POLL, Stage.AUDIT)
_GUARDED: Final = (*_LOOKS, Stage.WAKE)
_BY_RECIPE: Final = frozenset({Stage.CLEAN, Stage.PROMPT, Stage.GENERATE, Stage.AUDIT, Stage.COLLECT})
"""Stages whose limit depends on the recipe."""
_ALWAYS_MARKED: Final = (Stage.CLEAN, Stage.PROMPT, Stage.GENERATE, Stage.COLLECT, Stage.NOTIFY)


def is_marked(header: Header) -> bool:
    """Return True if a message creates a mark before its work; the others are light."""
    if header.stage in _LOOKS:
        return header.seq % MARK_EVERY == 0
    return header.stage in _ALWAYS_MARKED


def limit_of(stage: str, recipe: Recipe | None) -> float:
    """Return the seconds that a stage may work on one message."""
    if recipe is not None and stage == Stage.GENERATE:
        settle = RESULT_SETTLE_LIMIT_S if recipe.synchronous else SETTLE_LIMIT_S
        return PREPARE_LIMIT_S + recipe.create_limit_s + settle
    if recipe is not None and recipe.prompt is not None and stage == Stage.PROMPT:
        return recipe.prompt.limit_s + PROMPT_MARGIN_S
    if recipe is not None and recipe.video_inputs and stage == Stage.CLEAN:
        return _CLEAN_VIDEO_S
    if recipe is not None and recipe.media == "video" and stage == Stage.AUDIT:
        return _LABEL_VIDEO_S
    if recipe is not None and stage == Stage.COLLECT:
        return recipe.collect_limit_s
    return LIMITS[stage]


def longest_limit_of(stage: str, recipe: Recipe | None) -> float:
    """Return the same for a message whose run is not read: the longest of the vendors that may do its kind."""
    if recipe is None or stage not in _BY_RECIPE:
        return LIMITS[stage]
    return max(limit_of(stage, form) for form in recipe.forms)


def is_guarded(header: Header, waited: float, *, holder_died: bool) -> bool:
    """Return True if a message creates a mark before its work, by its stage or because it may have killed a process.

    A message that kills its process is delivered again and again; while it is light, nothing counts that. So a light
    message is marked too if it is a crash copy, if its holder died, or if it comes later than a living process would
    take.

    Args:
        header: of the message.
        waited: seconds since it was due.
        holder_died: see `transport.port.Delivery`.
    """
    if is_marked(header):
        return True
    return header.stage in _GUARDED and (header.isolated or holder_died or waited > LIMITS[header.stage])


def runs_isolated(stage: str, attempt: int) -> bool:
    """Return True if a crash copy runs isolated, so that its next crash kills no neighbours.

    The first copy of long work does not: most processes die for another reason, and their work would then be done one
    by one. A message that kills its process can kill its neighbours only once more. Light work is isolated at once,
    because only its mark counts.

    Args:
        stage: of the message.
        attempt: of the copy.
    """
    return stage in _GUARDED or attempt > 1


def may_run_again_at(header: Header, begun: float, limit_s: float, now: float, *, holder_died: bool) -> float:
    """Return when work that an earlier process began may be repeated; seconds since the epoch.

    The copy after the last attempt is a dead letter: the last attempt always has its whole limit to end well.

    Args:
        header: of the message that was begun.
        begun: seconds since the epoch.
        limit_s: seconds after which its writer counts as dead.
        now: seconds since the epoch.
        holder_died: see `transport.port.Delivery`.
    """
    if holder_died:
        return now
    over = begun + limit_s
    whole = header.stage in _PAID or header.attempt + 1 >= MAX_ATTEMPTS
    return over if whole else min(over, now + UNPAID_REST_S)
