"""Table of all kinds. A new kind needs a module in this package and a row here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from messages.codes import Code
from messages.errors import Rejected
from recipes.ai_image import AI_IMAGE
from recipes.ai_image_generate import AI_IMAGE_GENERATE
from recipes.ai_image_preprocess import AI_IMAGE_PREPROCESS
from recipes.ai_image_prompt import AI_IMAGE_PROMPT
from recipes.basic_clean import BASIC_CLEAN
from recipes.fitting import FITTING
from recipes.model_pose12 import MODEL_POSE12
from recipes.photography import PHOTOGRAPHY, photography
from recipes.promo_poster import PROMO_POSTER
from recipes.recipe import Recipe
from recipes.shared.scenes import Scene
from recipes.video_tryon import VIDEO_TRYON

__all__ = ["RECIPES", "UnknownKind", "recipe_of", "recipes_with"]

_ROWS: Final = (
    AI_IMAGE,
    AI_IMAGE_GENERATE,
    AI_IMAGE_PREPROCESS,
    AI_IMAGE_PROMPT,
    BASIC_CLEAN,
    FITTING,
    MODEL_POSE12,
    PHOTOGRAPHY,
    PROMO_POSTER,
    VIDEO_TRYON,
)

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType({recipe.kind: recipe for recipe in _ROWS})
"""Every recipe by its kind."""


class UnknownKind(Rejected):
    """A kind that no recipe describes."""

    default_code = Code.UNKNOWN_KIND


def recipes_with(scenes: Mapping[str, Scene]) -> Mapping[str, Recipe]:
    """Return every recipe by its kind, with the scenes of a deployment instead of the bundled ones."""
    return MappingProxyType({**RECIPES, PHOTOGRAPHY.kind: photography(scenes)})


def recipe_of(kind: str, recipes: Mapping[str, Recipe] = RECIPES) -> Recipe:
    """Return the recipe of a kind.

    Raises:
        UnknownKind: there is no such kind; the message lists the known ones.
    """
    try:
        return recipes[kind]
    except KeyError:
        raise UnknownKind(f"kind {kind[:40]!r} is not one of {', '.join(sorted(recipes))}") from None
