"""Costs of paid calls: counted once in the slot's end, also where the call ended badly."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest

from messages.codes import Code
from messages.keys import RunId
from recipes.model_pose12 import MODEL_POSE12
from services.vendors.port import JobState
from services.vendors.usage import Usage
from tasks.ending.usage import read_usage
from tests.engine.harness import Harness
from tests.engine.standins import InstantVendor, Plan

KIND: Final = "model_pose12"
COST: Final = Usage(coins=17, seconds=83)
FAILED: Final = Plan(end=JobState.FAILED)
SHORT: Final = Plan(files=1)


def opened(*, at_once: bool = False) -> Harness:
    recipe = msgspec.structs.replace(MODEL_POSE12, count=2, synchronous=at_once)
    harness = Harness(recipes={KIND: recipe})
    if at_once:
        harness.vendors[harness.vendor.name] = InstantVendor(harness.vendor, 1)
    harness.vendor.usage = COST
    return harness


async def cost(run: RunId, harness: Harness) -> Usage:
    accepted = await harness.ledger.accepted(run)
    assert accepted is not None
    return await read_usage(run, accepted, harness.now(), prompted=False, ledger=harness.ledger)


@pytest.mark.parametrize(
    ("plan", "code"), [(FAILED, Code.VENDOR_FAILED), (SHORT, Code.INCOMPLETE_RESULTS)], ids=["failed", "short"]
)
@pytest.mark.parametrize("by", ["poll", "wake"])
async def test_the_cost_of_a_job_that_ended_badly_stands_in_its_slot(by: str, plan: Plan, code: Code) -> None:
    async with opened() as harness:
        harness.vendor.plans.append(plan)
        run = await harness.order()
        if by == "wake":
            await harness.pass_by("poll")
            await harness.wake(run, "sweep")
        await harness.drain()
        await harness.promise(run, "failed", code)
        assert await cost(run, harness) == COST


async def test_the_cost_of_an_answer_with_too_few_results_stands_in_its_slot() -> None:
    async with opened(at_once=True) as harness:
        run = await harness.order()
        await harness.drain()
        await harness.promise(run, "failed", Code.INCOMPLETE_RESULTS)
        assert await cost(run, harness) == COST
