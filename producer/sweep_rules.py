"""What the sweep does about one unfinished task: pure.

Everything rests on when the run's newest record was stored. A message that is alive leaves records (marks, results,
verdicts), so a run without a new one for its limit has come to a stop: whatever a broker lost, this finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from messages.bodies import Stage
from messages.codec import MAX_COUNT
from messages.errors import InvalidKey
from messages.keys import RunId, check_id
from recipes.recipe import Recipe
from services.backend import UnfinishedTask
from tasks.ending.finish import DELIVER_FOR_S
from tasks.ledger.records import Accepted, Delivered, Verdict
from tasks.view import stage_after
from tasks.wakes import LATEST, SWEEP_PERIOD_S

__all__ = [
    "OLDER_THAN_S",
    "REDELIVER_EVERY_S",
    "Action",
    "choose",
    "oddity_of",
    "run_of",
]

OLDER_THAN_S: Final = 600.0
"""Age below which neither a task nor a record is looked at."""

REDELIVER_EVERY_S: Final = 3600.0

_SAME_TIME_S: Final = 1.0
"""The store tells whole seconds: of records closer than that, nobody knows which is the newest."""

_OLDEST: Final = 1e9
_AHEAD_S: Final = 3600.0
"""Seconds that the backend's clock may be ahead: then a task ends so much later."""

_SLACK_S: Final = 60.0
"""A run's message is a little younger than the record it follows from."""

_ACCEPTED: Final = Accepted.at().text
_VERDICT: Final = Verdict.at().text
_DELIVERED: Final = Delivered.at().text


class Action(StrEnum):
    """What becomes of a row; the sweep counts by these names."""

    WOKEN = "woken"
    """It has come to a stop: wake it."""
    FRESH = "fresh"
    """It moves, or nothing is due: leave it."""
    REDELIVERED = "redelivered"
    """The verdict was acknowledged, and the backend lists the task all the same: deliver it once more."""
    GIVEN_UP = "given_up"
    """As that, for longer than it is worth trying: a person should look at the backend."""


def choose(
    trail: Mapping[str, float],
    now: float,
    *,
    recipe: Recipe | None,
    longest_s: float,
    waiting: Mapping[Stage, float],
    older_than: float = OLDER_THAN_S,
) -> Action:
    """What to do about a task that the backend lists as unfinished.

    Args:
        trail: record -> when it was stored, of the run that counts; empty when nobody has accepted the task.
        now: when the sweep began, seconds since the epoch by the store's clock.
        recipe: of the task's kind, if this build knows it.
        longest_s: the longest deadline of any kind, in seconds: what counts where the kind is not known. A wake that
            comes before the run's own deadline ends nothing.
        waiting: stage -> age of the oldest message that is due on its topics, seconds.
        older_than: seconds a run may be without a new record at least.
    """
    if not trail:
        return Action.WOKEN
    if _DELIVERED in trail:
        return _after_delivery(now - trail[_DELIVERED])
    if _is_late(trail, now, recipe.deadline_s if recipe else longest_s):
        return Action.WOKEN
    newest = max(trail.values())
    limits = [older_than]
    for stage in {stage_after(name) for name, stored in trail.items() if newest - stored < _SAME_TIME_S}:
        waited = waiting.get(stage, 0.0)
        limits += [waited + _SLACK_S if waited else 0.0, _own_limit(stage, recipe)]
    return Action.WOKEN if now - newest >= max(limits) else Action.FRESH


def run_of(row: UnfinishedTask) -> RunId:
    """Return the run that counts of a row's step.

    Raises:
        messages.errors.InvalidKey: the row can be no task of ours; the message names the field.
    """
    user, task = check_id(row.user, "user"), check_id(row.task, "task")
    if not 0 <= row.step <= MAX_COUNT:
        raise InvalidKey(f"step must be from 0 to {MAX_COUNT}, got {row.step}")
    return RunId(user, task, row.step, LATEST)


def oddity_of(row: UnfinishedTask, now: float) -> str:
    """Why a row cannot be acted on, or no deadline be counted from it; empty where all is well.

    Args:
        row: of the backend's list.
        now: seconds since the epoch by the store's clock.
    """
    try:
        run_of(row)
    except InvalidKey as error:
        return str(error)
    if not _OLDEST <= row.created <= now + _AHEAD_S:
        return f"created must be seconds since the epoch and not in the future, got {row.created:g}"
    return ""


def _after_delivery(age: float) -> Action:
    """Stateless: sweeps come once a period, so exactly one of each hour of the age falls into its first period."""
    if age > DELIVER_FOR_S:
        return Action.GIVEN_UP
    return Action.REDELIVERED if age % REDELIVER_EVERY_S < SWEEP_PERIOD_S else Action.FRESH


def _is_late(trail: Mapping[str, float], now: float, deadline_s: float) -> bool:
    """Whether the run is out of time and has no verdict: then no backlog excuses it."""
    if _ACCEPTED not in trail or _VERDICT in trail:
        return False
    return now >= trail[_ACCEPTED] + deadline_s


def _own_limit(stage: Stage, recipe: Recipe | None) -> float:
    """How long one message of a stage may work, where that is longer than every run's ten minutes."""
    if recipe is None:
        return 0.0
    limit = {Stage.GENERATE: recipe.create_limit_s, Stage.COLLECT: recipe.collect_limit_s}.get(stage, 0.0)
    return limit if limit > OLDER_THAN_S else 0.0
