"""Decision of the sweep about one unfinished task: pure.

It depends on the time of the run's newest record. A message in progress leaves records (marks, results, verdicts), so a
run without a new record for longer than its limit is stalled, whatever the cause, such as a message lost by a broker.
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
from services.unfinished import UnfinishedTask
from tasks.ending.finish import DELIVER_FOR_S
from tasks.ledger.records import Accepted, Delivered, Verdict
from tasks.view import has_several_slots, stage_after, still_records
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
"""Least age, in seconds, of the tasks and records that are checked."""

REDELIVER_EVERY_S: Final = 3600.0
"""Seconds between two deliveries of a verdict that the backend acknowledged and still lists as missing."""

_SAME_TIME_S: Final = 1.0
"""Resolution of the store's times: the order of records closer than that is unknown."""

_OLDEST: Final = 1e9
_AHEAD_S: Final = 3600.0
"""Tolerated lead of the backend's clock, in seconds; a task's deadline is later by as much."""

_SLACK_S: Final = 60.0
"""Tolerance in seconds: a message is slightly younger than the record that it follows."""

_ACCEPTED: Final = Accepted.at().text
_VERDICT: Final = Verdict.at().text
_DELIVERED: Final = Delivered.at().text


class Action(StrEnum):
    """Action for a row; the sweep counts by these names."""

    WOKEN = "woken"
    """The run is stalled: wake it."""
    FRESH = "fresh"
    """The run is in progress, or nothing is due: leave it."""
    REDELIVERED = "redelivered"
    """The backend acknowledged the verdict but still lists the task: deliver it again."""
    GIVEN_UP = "given_up"
    """The same, for so long that only an operator can help: report it."""


def choose(
    trail: Mapping[str, float],
    now: float,
    *,
    recipe: Recipe | None,
    longest_s: float,
    waiting: Mapping[Stage, float],
    older_than: float = OLDER_THAN_S,
) -> Action:
    """Choose the action for a task that the backend lists as unfinished.

    Args:
        trail: record -> time when it was stored, of the current run; empty if the task was not accepted. Of several
            slots, the stillest one that has not ended counts.
        now: begin of the sweep, in seconds since the epoch by the store's clock.
        recipe: recipe of the task's kind, if this build knows it.
        longest_s: longest deadline of any kind, in seconds, used if the kind is unknown. A wake before the run's own
            deadline ends nothing.
        waiting: stage -> age of the oldest due message on its topics, in seconds.
        older_than: least age in seconds of the newest record of a stalled run.
    """
    if not trail:
        return Action.WOKEN
    if _DELIVERED in trail:
        return _after_delivery(now - trail[_DELIVERED])
    if _is_late(trail, now, recipe.deadline_s if recipe else longest_s):
        return Action.WOKEN
    if has_several_slots(trail) and _is_due_for_a_look(trail, now, older_than):
        return Action.WOKEN
    trail = still_records(trail)
    newest = max(trail.values())
    limits = [older_than]
    for stage in {stage_after(name) for name, stored in trail.items() if newest - stored < _SAME_TIME_S}:
        waited = waiting.get(stage, 0.0)
        limits += [waited + _SLACK_S if waited else 0.0, _own_limit(stage, recipe)]
    return Action.WOKEN if now - newest >= max(limits) else Action.FRESH


def run_of(row: UnfinishedTask) -> RunId:
    """Return the current run of a row's step.

    Raises:
        messages.errors.InvalidKey: the row cannot be a task of ours; the message names the field.
    """
    user, task = check_id(row.user, "user"), check_id(row.task, "task")
    if not 0 <= row.step <= MAX_COUNT:
        raise InvalidKey(f"step must be from 0 to {MAX_COUNT}, got {row.step}")
    return RunId(user, task, row.step, LATEST)


def oddity_of(row: UnfinishedTask, now: float) -> str:
    """Return why a row cannot be acted on, or its deadline not be computed; empty for a valid row.

    Args:
        row: row of the backend's list.
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
    """Choose the action without stored state: there is one sweep a period, so one sweep of each hour redelivers."""
    if age > DELIVER_FOR_S:
        return Action.GIVEN_UP
    return Action.REDELIVERED if age % REDELIVER_EVERY_S < SWEEP_PERIOD_S else Action.FRESH


def _is_late(trail: Mapping[str, float], now: float, deadline_s: float) -> bool:
    """Return True if the run has no verdict and its deadline has passed: then no backlog excuses it."""
    if _ACCEPTED not in trail or _VERDICT in trail:
        return False
    return now >= trail[_ACCEPTED] + deadline_s


def _is_due_for_a_look(trail: Mapping[str, float], now: float, older_than: float) -> bool:
    """Return True in one sweep of each period: a slot whose first message was lost has left no record to be missed."""
    age = now - trail.get(_ACCEPTED, now)
    return 0 < older_than <= age and age % older_than < SWEEP_PERIOD_S


def _own_limit(stage: Stage, recipe: Recipe | None) -> float:
    """Return the time limit of one message of a stage, if it is longer than `OLDER_THAN_S`; else 0."""
    if recipe is None:
        return 0.0
    limit = {Stage.GENERATE: recipe.create_limit_s, Stage.COLLECT: recipe.collect_limit_s}.get(stage, 0.0)
    return limit if limit > OLDER_THAN_S else 0.0
