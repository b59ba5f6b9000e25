"""A vendor whose answer to the create is the result, behind the same port and engine as one that makes jobs."""

from __future__ import annotations

import msgspec
import pytest

from messages.bodies import Stage, Wake
from recipes.model_pose12 import MODEL_POSE12
from recipes.table import RECIPES
from services.errors import CreateUnknown, ObjectsDown
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness
from tests.engine.standins import InstantVendor

KIND = "model_pose12"


@pytest.fixture
def harness() -> Harness:
    return Harness(recipes={**RECIPES, KIND: msgspec.structs.replace(MODEL_POSE12, synchronous=True)})


def _install(harness: Harness) -> None:
    harness.vendors[harness.vendor.name] = InstantVendor(harness.vendor, MODEL_POSE12.count)


async def test_results_that_come_with_the_answer_are_stored_and_brought_home(harness: Harness) -> None:
    _install(harness)
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.job == ""
    assert len(harness.vendor.paid) == 1
    records = await harness.records(run)
    assert "call-1-1-result" in records
    assert "call-1-1-id" not in records
    assert [reported.split()[1] for reported in harness.reported] == ["clean-0", "generate-0", "collect-0"]


async def test_a_ledger_that_is_away_for_a_minute_costs_neither_the_results_nor_a_second_call(harness: Harness) -> None:
    _install(harness)
    harness.injector.strike(r"ledger\.put_new .*call-1-1-result", *[raises(ObjectsDown("503"))] * 50)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_results_whose_collect_is_lost_are_found_by_the_next_wake(harness: Harness) -> None:
    _install(harness)
    run = await harness.order()
    delivery, consumer = await harness.until("collect")
    await consumer.ack(delivery)
    await harness.say(run, Stage.WAKE, Wake("sweep"))
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_a_lost_answer_is_never_posted_again(harness: Harness) -> None:
    _install(harness)
    harness.injector.strike(r"vendor\.create", raises(CreateUnknown("no answer")), done=True)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", "vendor_unknown")
    assert len(harness.vendor.paid) == 1
