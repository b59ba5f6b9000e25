"""The one table of kinds. A new kind is a module beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from messages.codes import Code
from messages.errors import Rejected
from recipes.basic_clean import BASIC_CLEAN
from recipes.model_pose12 import MODEL_POSE12
from recipes.recipe import Recipe

__all__ = ["RECIPES", "UnknownKind", "recipe_of"]

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType({r.kind: r for r in (BASIC_CLEAN, MODEL_POSE12)})
"""Every recipe by its kind."""


class UnknownKind(Rejected):
    """A kind that no recipe describes."""

    default_code = Code.UNKNOWN_KIND


def recipe_of(kind: str, recipes: Mapping[str, Recipe] = RECIPES) -> Recipe:
    """The recipe of a kind.

    Raises:
        UnknownKind: there is none; the message names those there are.
    """
    try:
        return recipes[kind]
    except KeyError:
        raise UnknownKind(f"kind {kind[:40]!r} is not one of {', '.join(sorted(recipes))}") from None
