"""A run together with everything that was sold."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from messages.codec import Header
from messages.errors import Outage, Rejected
from messages.keys import RunId
from recipes.recipe import Params, Recipe, parse_params
from recipes.table import recipe_of
from tasks.context import Services
from tasks.errors import NotAccepted
from tasks.ledger.records import Accepted

__all__ = ["Task", "as_accepted", "known_recipe", "load_task"]


class Task(msgspec.Struct, frozen=True):
    """A run with everything that was sold."""

    run: RunId
    accepted: Accepted
    recipe: Recipe
    params: Params

    @property
    def vendor(self) -> str:
        """The vendor that was sold with it: a later build may have another for the kind."""
        return self.accepted.vendor or self.recipe.vendor


def known_recipe(kind: str, recipes: Mapping[str, Recipe], vendor: str = "") -> Recipe:
    """Return the recipe of an accepted task.

    Args:
        kind: of the task.
        recipes: the recipes of this build.
        vendor: the vendor in `accepted`, where the form of the kind by that vendor is asked for.

    Raises:
        messages.errors.Outage: this build does not know the kind. The build that accepted it does and still runs
            somewhere: a rolling deploy must cause no refund.
    """
    try:
        return recipe_of(kind, recipes).by(vendor)
    except Rejected as error:
        raise Outage(f"this build does not know the kind {kind!r}") from error


def as_accepted(header: Header, accepted: Accepted) -> Header:
    """Return the header with the kind, deadline and priority that stand in `accepted`."""
    deadline = max(1, int(accepted.deadline * 1000) - header.created)
    return msgspec.structs.replace(header, kind=accepted.kind, priority=accepted.priority, deadline=deadline)


async def load_task(run: RunId, services: Services) -> Task:
    """Return the run as it was accepted.

    Raises:
        tasks.errors.NotAccepted: the run was never accepted.
        messages.errors.Outage: this build does not know its kind or parameters.
    """
    accepted = await services.ledger.accepted(run)
    if accepted is None:
        raise NotAccepted(f"{run.stem} was never accepted")
    recipe = known_recipe(accepted.kind, services.recipes, accepted.vendor)
    try:
        return Task(run, accepted, recipe, parse_params(recipe, accepted.params))
    except Rejected as error:
        raise Outage(f"this build does not know what was accepted as {run.stem}: {error}") from error
