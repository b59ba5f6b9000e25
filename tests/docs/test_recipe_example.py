"""The worked example of docs/how-to/add-a-recipe.md is a recipe that works."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from recipes.recipe import BadParameters, Recipe, parse_params
from sandbox.cos.ci.pictures import process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/add-a-recipe.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    source = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    module = types.ModuleType("poster_square")
    # msgspec looks annotations up in the module's own names.
    sys.modules[module.__name__] = module
    exec(compile(source, "add-a-recipe.md", "exec"), module.__dict__)  # noqa: S102 - the page's own example
    found: Recipe = module.__dict__["POSTER_SQUARE"]
    return found


def test_it_makes_the_picture_that_the_page_promises(recipe: Recipe) -> None:
    plan = recipe.clean(parse_params(recipe, {"side": 256}), "jpg")
    photo = (ROOT / "sandbox/photos/portrait.jpg").read_bytes()
    for rule in plan.passes:
        picture = process(photo, rule)
    assert (picture.format, picture.width, picture.height) == ("webp", 256, 256)
    assert recipe.result.format(1, plan.extension) == "poster_01.webp"


def test_it_refuses_what_it_does_not_know(recipe: Recipe) -> None:
    with pytest.raises(BadParameters, match="side"):
        parse_params(recipe, {"side": 10})
    with pytest.raises(BadParameters, match="colour"):
        parse_params(recipe, {"colour": "red"})
