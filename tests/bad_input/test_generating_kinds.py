"""The kinds that generate: wrong numbers of inputs, and parameters that no model takes, are refused before payment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from messages.codes import Code
from messages.keys import InputKey, RunId
from recipes.table import RECIPES
from tasks.accepting.accept import take_in
from tasks.ledger.records import Accepted
from tests.bad_input import pictures
from tests.bad_input.harness import TicketHarness

NEWER: Final = "doubao-seedream-4-5-251128"

OUT_OF_RANGE: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "a scene that is not there": ("photography", {"scene": "moon"}),
    "no photograph": ("photography", {"count": 0}),
    "five photographs": ("photography", {"count": 5}),
    "a size that the model refuses": ("photography", {"size": "512x512"}),
    "no picture": ("ai_image", {"options": {"n": 0}}),
    "five pictures": ("ai_image", {"options": {"n": 5}}),
    "a size of another model": ("ai_image", {"options": {"size": "1024x1024"}, "modelConfig": {"model": NEWER}}),
    "a model that nobody sells": ("ai_image", {"modelConfig": {"model": "midjourney"}}),
    "a format that nobody makes": ("ai_image", {"options": {"format": "tiff"}}),
    "pictures among the parameters": ("ai_image", {"clothingImages": ["https://example.com/a.jpg"]}),
    "a mode that nobody knows": (
        "ai_image_preprocess",
        {"options": {"resize": {"width": 1, "height": 1, "mode": "x"}}},
    ),
    "a watermark without text": ("ai_image_preprocess", {"options": {"watermark": {"text": ""}}}),
    "a watermark with a rule in it": (
        "ai_image_preprocess",
        {"options": {"watermark": {"text": "x", "position": "a/b"}}},
    ),
    "a poster without a title": ("promo_poster", {"title": ""}),
    "a poster with an emoji": ("promo_poster", {"title": "新品🎉"}),
    "a price that is no amount": ("promo_poster", {"title": "新品", "price": "面议"}),
    "a shape that does not exist": ("promo_poster", {"title": "新品", "shape": "round"}),
    "a word without end": ("ai_image_prompt", {"clothingType": "长" * 51}),
}


async def order(
    harness: TicketHarness, kind: str, params: Mapping[str, Any], names: Sequence[str], sold: int | None = None
) -> RunId:
    """Buy a task and upload its inputs and its task file, without delivering any event."""
    run = harness.sell(kind, params)
    for name in set(names):
        await harness.put(run, name, pictures.jpeg())
    ticket = harness.ticket(run, kind, params, inputs=len(names) if sold is None else sold)
    body = {"kind": kind, "params": params, "inputs": names, "ticket": ticket}
    await harness.put(run, "task.json", json.dumps(body).encode())
    return run


def task_file(run: RunId) -> str:
    return f"input/{run.user}/{run.task}/task.json"


@pytest.mark.parametrize("name", OUT_OF_RANGE)
async def test_parameters_out_of_range_fail_the_task_though_they_were_sold(harness: TicketHarness, name: str) -> None:
    kind, params = OUT_OF_RANGE[name]
    run = await order(harness, kind, params, ["a.jpg"])
    assert await harness.deliver(task_file(run)) == {"rejected": 1}
    await harness.refused(run, Code.BAD_PARAMETERS)


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (recipe.kind, number)
        for recipe in RECIPES.values()
        for number in (recipe.least_inputs - 1, recipe.most_inputs + 1)
        if number >= 0
    ],
)
async def test_too_few_or_too_many_inputs_fail_the_task_though_they_were_sold(
    harness: TicketHarness, kind: str, inputs: int
) -> None:
    params = dict(RECIPES[kind].example)
    run = await order(harness, kind, params, [f"{n}.jpg" for n in range(inputs)])
    assert await harness.deliver(task_file(run)) == {"rejected": 1}
    await harness.refused(run, Code.BAD_PARAMETERS)


async def test_a_picture_for_a_kind_that_takes_none_fails_the_task(harness: TicketHarness) -> None:
    run = await harness.submit(pictures.jpeg(), kind="ai_image_generate", params={"prompt": "雨天"})
    await harness.refused(run, Code.BAD_PARAMETERS)


@pytest.mark.parametrize("sold", [0, 1])
async def test_a_kind_without_inputs_is_accepted_by_its_task_file_alone(harness: TicketHarness, sold: int) -> None:
    params = {"prompt": "雨天", "options": {"n": 3}}
    run = await order(harness, "ai_image_generate", params, [], sold)
    assert await take_in(InputKey(run.user, run.task, "task.json"), harness.out) == "accepted"
    accepted = await harness.ledger.accepted(run)
    assert accepted is not None
    assert (accepted.inputs, accepted.vendor) == ((), "ark")
    assert (accepted.slots, accepted.enough, accepted.last_call) == (3, 3, 0.0)


async def test_a_task_file_without_a_list_has_no_inputs(harness: TicketHarness) -> None:
    run = harness.sell("basic_clean")
    body = {"kind": "basic_clean", "ticket": harness.ticket(run)}
    await harness.deliver(await harness.put(run, "task.json", json.dumps(body).encode()))
    await harness.refused(run, Code.BAD_PARAMETERS)


async def accepted_photographs(harness: TicketHarness, count: int) -> Accepted:
    run = await order(harness, "photography", {"count": count}, ["a.jpg", "b.jpg"])
    assert await take_in(InputKey(run.user, run.task, "task.json"), harness.out) == "accepted"
    accepted = await harness.ledger.accepted(run)
    assert accepted is not None
    return accepted


@pytest.mark.parametrize(("count", "enough"), [(1, 1), (2, 1), (3, 2), (4, 2)])
async def test_slots_and_last_call_are_fixed_when_the_task_is_accepted(
    harness: TicketHarness, count: int, enough: int
) -> None:
    accepted = await accepted_photographs(harness, count)
    last_call = accepted.created + RECIPES["photography"].last_call_s
    assert (accepted.slots, accepted.enough) == (count, enough)
    assert accepted.last_call == (last_call if enough < count else 0.0)
    assert len(accepted.inputs) == 2
