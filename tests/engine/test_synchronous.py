"""A vendor whose answer to the create is the result, behind the same port and engine as one that makes jobs."""

from __future__ import annotations

import msgspec
import pytest

from messages.bodies import Stage, Wake
from recipes.model_pose12 import MODEL_POSE12
from recipes.table import RECIPES
from services.errors import CreateUnknown, ObjectsDown
from tests.engine.fate import raises
from tests.engine.standins import InstantVendor
from tests.engine.world import World

KIND = "model_pose12"


@pytest.fixture
def world() -> World:
    return World(recipes={**RECIPES, KIND: msgspec.structs.replace(MODEL_POSE12, synchronous=True)})


def _install(world: World) -> None:
    world.vendors[world.vendor.name] = InstantVendor(world.vendor, MODEL_POSE12.count)


async def test_results_that_come_with_the_answer_are_stored_and_brought_home(world: World) -> None:
    _install(world)
    run = await world.order()
    await world.drain()
    verdict = await world.promise(run, "success")
    assert verdict.job == ""
    assert len(world.vendor.paid) == 1
    records = await world.records(run)
    assert "call-1-1-result" in records
    assert "call-1-1-id" not in records
    assert [told.split()[1] for told in world.told] == ["clean-0", "generate-0", "collect-0"]


async def test_a_ledger_that_is_away_for_a_minute_costs_neither_the_results_nor_a_second_call(world: World) -> None:
    _install(world)
    world.fate.strike(r"ledger\.put_new .*call-1-1-result", *[raises(ObjectsDown("503"))] * 50)
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_results_whose_collect_is_lost_are_found_by_the_next_wake(world: World) -> None:
    _install(world)
    run = await world.order()
    delivery, consumer = await world.until("collect")
    await consumer.ack(delivery)
    await world.say(run, Stage.WAKE, Wake("sweep"))
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_a_lost_answer_is_never_posted_again(world: World) -> None:
    _install(world)
    world.fate.strike(r"vendor\.create", raises(CreateUnknown("no answer")), done=True)
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", "vendor_unknown")
    assert len(world.vendor.paid) == 1
