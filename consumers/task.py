"""What a stage knows about the run it works on, and the messages that go on from there."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

import msgspec

from consumers.polling import MARK_EVERY
from consumers.retry import jittered
from messages.bodies import Body, Stage
from messages.codec import Header, Message
from messages.errors import Outage, Permanent, Rejected
from messages.keys import RunId
from recipes.recipe import Params, Recipe, parse_params
from recipes.table import recipe_of
from runtime.outside import Outside
from services.records import Accepted
from telemetry.tracing import onward

__all__ = [
    "LIMITS",
    "PREPARE_LIMIT_S",
    "SETTLE_LIMIT_S",
    "Task",
    "follow",
    "is_marked",
    "known_recipe",
    "limit_of",
    "load_task",
]

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

_ALWAYS_MARKED: Final = (Stage.CLEAN, Stage.GENERATE, Stage.COLLECT, Stage.NOTIFY)
_TIMELESS: Final = (Stage.NOTIFY, Stage.DEAD)


class Task(msgspec.Struct, frozen=True):
    """A run with everything that was sold."""

    run: RunId
    accepted: Accepted
    recipe: Recipe
    params: Params


def known_recipe(kind: str, out: Outside) -> Recipe:
    """The recipe of an accepted task.

    Raises:
        messages.errors.Outage: this build does not know the kind. The build that accepted it does and still runs
            somewhere: a rolling deploy must refund nobody.
    """
    try:
        return recipe_of(kind, out.recipes)
    except Rejected as error:
        raise Outage(f"this build does not know the kind {kind!r}") from error


async def load_task(run: RunId, out: Outside) -> Task:
    """The run as it was accepted.

    Raises:
        messages.errors.Permanent: nobody accepted it: the message came out of nowhere.
        messages.errors.Outage: its kind or parameters are none that this build knows.
    """
    accepted = await out.ledger.accepted(run)
    if accepted is None:
        raise Permanent(f"nobody accepted {run.stem}")
    recipe = known_recipe(accepted.kind, out)
    try:
        return Task(run, accepted, recipe, parse_params(recipe, accepted.params))
    except Rejected as error:
        raise Outage(f"this build does not know what was accepted as {run.stem}: {error}") from error


def is_marked(header: Header) -> bool:
    """Whether a message creates a mark before its work; the others are light."""
    if header.stage == Stage.POLL:
        return header.seq % MARK_EVERY == 0
    return header.stage in _ALWAYS_MARKED


def limit_of(stage: str, recipe: Recipe | None) -> float:
    """Seconds the stage may work on one message."""
    if recipe is not None and stage == Stage.GENERATE:
        return PREPARE_LIMIT_S + recipe.create_limit_s + SETTLE_LIMIT_S
    if recipe is not None and stage == Stage.COLLECT:
        return recipe.collect_limit_s
    return LIMITS[stage]


def follow(  # noqa: PLR0913 - a message is its parts
    header: Header,
    now: float,
    rng: random.Random,
    *,
    stage: Stage,
    body: Body,
    seq: int = 0,
    attempt: int = 0,
    delay: float = 0.0,
    alone: bool = False,
) -> Message:
    """A message of the same run, to be published now.

    Args:
        header: of the message it follows.
        now: seconds since the epoch, by the store's clock.
        rng: for jitter.
        stage: of the new message.
        body: of the new message.
        seq: its number in its stage.
        attempt: how often this work was tried.
        delay: seconds until it is due; jittered, and cut to the run's deadline.
        alone: whether it must run alone in its process.
    """
    created = int(now * 1000)
    wait = int(jittered(max(0.0, delay), rng) * 1000)
    deadline = 0
    if header.deadline and stage not in _TIMELESS:
        deadline = max(1, header.created + header.deadline - created)
        wait = min(wait, deadline)
    changed = msgspec.structs.replace(
        header,
        stage=stage.value,
        seq=seq,
        attempt=attempt,
        created=created,
        not_before=wait,
        deadline=deadline,
        traceparent=onward(header.traceparent),
        alone=alone,
    )
    return Message(changed, body)
