"""docs/kinds.md says of each kind what its recipe says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest

from recipes.recipe import Params, Recipe, parse_params, sale_of
from recipes.shared.seedream import DEFAULT_MODEL, MODELS
from recipes.table import RECIPES

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/kinds.md").read_text(encoding="utf-8")


def rows(head: str, text: str = PAGE) -> list[list[str]]:
    """The cells of the table with this head."""
    (table,) = re.findall(rf"^\| {re.escape(head)} \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def cells(recipe: Recipe) -> list[str]:
    """The row of a kind as it should be."""
    least, most = recipe.least_inputs, recipe.most_inputs
    prompt = f", prompt by `{recipe.prompt.vendor}`" if recipe.prompt else ""
    vendor = " or ".join(f"`{form.vendor}`" for form in recipe.forms) if recipe.vendor else "none"
    inputs = f"{least}–{most}" if most > least else str(most)
    return [f"`{recipe.kind}`", inputs, vendor + prompt, results(recipe), str(recipe.deadline_s)]


def results(recipe: Recipe) -> str:
    if not recipe.vendor:
        return "a text" if recipe.prompt else "a picture per input"
    counts = {"photography": "`count`", "ai_image": "`options.n`", "ai_image_generate": "`options.n`"}
    four = {"count": 4} if recipe.kind == "photography" else {"options": {"n": 4}}
    if recipe.media == "video":
        return "1 video, and a still of it"
    if recipe.kind not in counts:
        return f"{recipe.count} pictures, all of them" if recipe.count > 1 else "1 picture"
    sale = sale_of(recipe, parse_params(recipe, {**recipe.example, **four}), recipe.deadline_s)
    assert sale.slots == 4
    return f"{counts[recipe.kind]} pictures, " + ("all of them" if sale.enough == 4 else "half of them at least")


def test_the_table_of_kinds_is_that_of_the_recipes() -> None:
    assert rows("kind | inputs | vendor | results | deadline, s") == [cells(RECIPES[kind]) for kind in sorted(RECIPES)]
    timed = {kind for row in rows("kind | usual time | what it costs") for kind in re.findall(r"`(\w+)`", row[0])}
    assert timed == set(RECIPES)


def parameters(struct: type[Params], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each parameter's name in JSON with its default as the page writes it."""
    for field in msgspec.structs.fields(struct):
        inner = [
            kind for kind in (field.type, *get_args(field.type)) if isinstance(kind, type) and issubclass(kind, Params)
        ]
        name = prefix + field.encode_name
        if inner:
            yield from parameters(inner[0], f"{name}.")
        elif field.default is msgspec.NODEFAULT:
            yield name, "required"
        else:
            yield name, f"`{json.dumps(field.default, ensure_ascii=False)}`"


def section(kind: str) -> str:
    return PAGE.partition(f"\n### {kind}\n")[2].partition("\n##")[0]


@pytest.mark.parametrize("kind", RECIPES)
def test_every_parameter_stands_there_with_its_default(kind: str) -> None:
    shown = [(row[0].strip("`"), row[1]) for row in rows("parameter | default | values", section(kind) + "\n")]
    assert shown == list(parameters(RECIPES[kind].params))


@pytest.mark.parametrize("kind", RECIPES)
def test_a_range_on_the_page_is_that_of_the_recipe(kind: str) -> None:
    recipe = RECIPES[kind]
    for name, _, values in rows("parameter | default | values", section(kind) + "\n"):
        found = re.match(r"(\d+)–(\d+)", values)
        if not found:
            continue
        least, most = int(found[1]), int(found[2])
        taken = [number for number in (least - 1, least, most, most + 1) if takes(recipe, name.strip("`"), number)]
        assert taken == [least, most], name


def takes(recipe: Recipe, name: str, value: Any) -> bool:
    """True if the kind takes a parameter with this value, a number or for a text its length."""
    values: dict[str, Any] = {**recipe.example}
    *outer, last = name.split(".")
    target = values
    for part in outer:
        target = target.setdefault(part, {"width": 1, "height": 1} if part in {"resize", "crop"} else {})
    if "watermark" in outer:
        target["text"] = "x"
    target[last] = "x" * value if last == "text" else value
    try:
        parse_params(recipe, values)
    except Exception:  # noqa: BLE001 - refused, for whatever reason
        return False
    return True


def test_the_table_of_models_is_that_of_the_rules() -> None:
    assert rows("model | pixels | names") == [
        [f"`{name}`", f"{model.least_pixels}–{model.most_pixels}", ", ".join(model.short_sizes)]
        for name, model in MODELS.items()
    ]
    assert next(iter(MODELS)) == DEFAULT_MODEL
    assert RECIPES["photography"].last_call_s == 7 * 60
