"""The table of topics for the recipes of this build, and the topic that a message of a run travels on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from messages.bodies import Stage
from messages.codec import Header
from messages.topics import FAILURE, WORKERS, Topic, topic_of, topic_table
from recipes.recipe import Recipe
from recipes.table import RECIPES

__all__ = ["DEAD_LETTER_TOPICS", "TOPICS", "WORK_TOPICS", "topic_for", "topics_of"]


def topics_of(recipes: Mapping[str, Recipe]) -> tuple[Topic, ...]:
    """Return the table of topics that some recipes need."""
    return topic_table(form.vendor for recipe in recipes.values() for form in recipe.forms if form.vendor)


TOPICS: Final = topics_of(RECIPES)
"""Every topic with its subscription."""

WORK_TOPICS: Final = tuple(topic.name for topic in TOPICS if topic.subscription == WORKERS)
"""Every topic of the consumers."""

DEAD_LETTER_TOPICS: Final = tuple(topic.name for topic in TOPICS if topic.subscription == FAILURE)
"""Every topic of the failure function."""


def topic_for(stage: Stage, header: Header, recipes: Mapping[str, Recipe], *, default: str) -> str:
    """Return the topic of a message.

    Args:
        stage: of the message.
        header: of the run: its kind names the vendor.
        recipes: what is known here.
        default: for a stage with topics of each vendor, when the kind's vendor is not known here: where the run's
            message came from.
    """
    if stage is not Stage.GENERATE:
        return topic_of(stage, header.priority)
    recipe = recipes.get(header.kind)
    return topic_of(stage, header.priority, vendor=recipe.vendor) if recipe and recipe.vendor else default
