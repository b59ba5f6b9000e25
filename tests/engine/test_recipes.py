"""Recipes that differ from those of the table: several inputs, and results that are no pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from messages.codes import Code
from messages.keys import InputKey, RunId
from recipes.model_pose12 import MODEL_POSE12
from recipes.recipe import Recipe
from tasks.accepting.accept import take_in
from tests.engine.harness import Harness, photo
from tests.engine.standins import Plan

PAIR = msgspec.structs.replace(MODEL_POSE12, inputs=("person", "garment"), least_inputs=2, most_inputs=2, count=1)
VIDEO = msgspec.structs.replace(MODEL_POSE12, count=1, media="video", extension="mp4", result="video_{:02d}.{}")


async def _order(harness: Harness, inputs: tuple[str, ...]) -> RunId:
    run = RunId("u1", "t-pair")
    harness.backend.book.sell(run.user, run.task, 0, "model_pose12", "{}", harness.now())
    folder = f"input/{run.user}/{run.task}/"
    for name in inputs:
        await harness.data.put(folder + name, photo())
    body: Mapping[str, Any] = {"kind": "model_pose12", "params": {}, "inputs": inputs}
    await harness.data.put(folder + "task.json", msgspec.json.encode(body))
    return run


def _harness(recipe: Recipe) -> Harness:
    return Harness(recipes={"model_pose12": recipe})


@pytest.mark.parametrize("names", [("a.jpg",), ("a.jpg", "b.jpg", "c.jpg")])
async def test_too_few_inputs_or_too_many_are_refused_at_the_door_and_nothing_is_paid(names: tuple[str, ...]) -> None:
    async with _harness(PAIR) as harness:
        run = await _order(harness, names)
        assert await take_in(InputKey(run.user, run.task, "task.json"), harness.out) == "rejected"
        await harness.drain()
        await harness.promise(run, "failed", Code.BAD_PARAMETERS)
        assert harness.vendor.paid == harness.vendor.uploads == []


async def test_both_inputs_go_to_the_vendor_by_their_names() -> None:
    async with _harness(PAIR) as harness:
        run = await _order(harness, ("a.jpg", "b.jpg"))
        assert await take_in(InputKey(run.user, run.task, "task.json"), harness.out) == "accepted"
        await harness.drain()
        await harness.promise(run, "success")
        (request,) = harness.vendor.requests
        assert dict(request.inputs) == {"person": "api/1", "garment": "api/2"}


async def test_a_video_is_brought_home_as_it_is() -> None:
    async with _harness(VIDEO) as harness:
        harness.vendor.plans.append(Plan(type="mp4"))
        run = await harness.order()
        await harness.drain()
        verdict = await harness.promise(run, "success")
        (item,) = verdict.manifest
        assert item.target.endswith("/video_01.mp4")
        assert (await harness.data.head(item.target)).content_type == "video/mp4"


async def test_a_picture_where_a_video_was_sold_fails_the_task() -> None:
    async with _harness(VIDEO) as harness:
        run = await harness.order()
        await harness.drain()
        await harness.promise(run, "failed", Code.VENDOR_FAILED)
