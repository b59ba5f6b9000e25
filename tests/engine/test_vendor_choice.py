"""A kind that two vendors may do: the setting chooses at acceptance, and `accepted` keeps it."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import Any, Final, get_args

import msgspec
import pytest

from consumers.engine.limits import limit_of, longest_limit_of
from consumers.runners.worker import reserve_of
from messages.bodies import Stage
from messages.topics import topic_of
from recipes.fitting import FITTING
from recipes.model_pose12 import MODEL_POSE12
from recipes.recipe import BadRecipe, Recipe
from recipes.table import RECIPES
from runtime.settings import Settings, load_settings
from runtime.wiring import _policy
from tasks.run import load_task
from tasks.topics import topics_of
from tests.engine.harness import Harness
from tests.engine.standins import InstantVendor, ScriptedVendor

KIND: Final = "fitting"


def for_one_photo(recipe: Recipe) -> Recipe:
    """The recipe, for the one photo that the harness uploads."""
    others = tuple(for_one_photo(other) for other in recipe.others)
    return msgspec.structs.replace(recipe, least_inputs=1, others=others)


class Two:
    """Both vendors of `fitting`: one makes jobs, the other answers with the picture."""

    def __init__(self, harness: Harness) -> None:
        self.vod, self.ark = ScriptedVendor(harness.injector, 1), ScriptedVendor(harness.injector, 1)
        self.vod.name, self.ark.name = "vod", "ark"
        harness.vendors |= {"vod": self.vod, "ark": InstantVendor(self.ark, 1)}

    @property
    def paid(self) -> tuple[int, int]:
        return len(self.vod.paid), len(self.ark.paid)


@pytest.fixture
def harness() -> Harness:
    return Harness(recipes={**RECIPES, KIND: for_one_photo(FITTING)})


@pytest.fixture
def two(harness: Harness) -> Two:
    return Two(harness)


def choose(harness: Harness, vendor: str) -> None:
    """Restart with the setting."""
    policy = dataclasses.replace(harness.out.policy, vendors={KIND: vendor})
    harness.out = dataclasses.replace(harness.out, policy=policy)
    harness.engine = harness.new_engine()


@pytest.mark.parametrize(("vendor", "paid"), [("vod", (1, 0)), ("ark", (0, 1)), ("", (1, 0))])
async def test_the_setting_chooses_who_is_paid(harness: Harness, two: Two, vendor: str, paid: tuple[int, int]) -> None:
    choose(harness, vendor)
    run = await harness.order(KIND, {"note": "慢慢来", "quality": "pro"})
    await harness.drain()
    await harness.promise(run, "success")
    assert two.paid == paid
    assert (await harness.records(run))["accepted"]["vendor"] == (vendor or "vod")
    (request,) = (*two.vod.requests, *two.ark.requests)
    assert ("model" in request.values) is (vendor != "ark")
    assert request.values["prompt"].endswith("要求：慢慢来")
    assert await harness.outputs(run) == [f"output/{run.user}/{run.task}/fitting_01.jpg"]
    topics = {sent.topic for sent in harness.wire.sent if sent.header.stage == "generate"}
    assert topics == {topic_of(Stage.GENERATE, vendor=vendor or "vod")}


@pytest.mark.parametrize("stage", ["clean", "generate"])
@pytest.mark.parametrize(("first", "then", "paid"), [("vod", "ark", (1, 0)), ("ark", "vod", (0, 1))])
async def test_a_change_of_the_setting_changes_no_accepted_task(
    harness: Harness, two: Two, stage: str, first: str, then: str, paid: tuple[int, int]
) -> None:
    choose(harness, first)
    run = await harness.order(KIND)
    delivery, consumer = await harness.until(stage)
    choose(harness, then)
    await consumer.release(delivery)
    await harness.drain()
    await harness.promise(run, "success")
    assert two.paid == paid
    later = await harness.order(KIND)
    await harness.drain()
    await harness.promise(later, "success")
    assert two.paid == (1, 1)


@pytest.mark.parametrize(("first", "then"), [("vod", "ark"), ("ark", "vod")])
async def test_nor_does_a_second_delivery_of_the_upload_or_a_lost_message(
    harness: Harness, two: Two, first: str, then: str
) -> None:
    choose(harness, first)
    run = await harness.order(KIND)
    delivery, consumer = await harness.until("clean")
    await consumer.ack(delivery)
    choose(harness, then)
    assert await harness.take_in(run) == "again"
    await harness.wake(run, "sweep")
    await harness.drain()
    await harness.promise(run, "success")
    task = await load_task(run, harness.out)
    assert (task.vendor, task.recipe.vendor, task.recipe.synchronous) == (first, first, first == "ark")
    assert sum(two.paid) == 1


async def test_a_paid_call_that_was_lost_is_looked_up_at_its_own_vendor(harness: Harness, two: Two) -> None:
    choose(harness, "vod")
    run = await harness.order(KIND)
    delivery, consumer = await harness.until("poll")
    await consumer.ack(delivery)
    choose(harness, "ark")
    while await harness.ledger.verdict(run) is None:
        # A wake looks at the job once.
        await asyncio.sleep(60)
        await harness.wake(run, "sweep")
        await harness.drain()
    await harness.promise(run, "success")
    assert two.paid == (1, 0)


def test_the_topics_limits_and_clients_are_those_of_both() -> None:
    names = {topic.name for topic in topics_of({KIND: FITTING})}
    assert {"generate-vod-normal", "generate-ark-normal"} <= names
    (ark,) = FITTING.others
    longest = longest_limit_of(Stage.GENERATE, FITTING)
    assert longest == limit_of(Stage.GENERATE, ark) > limit_of(Stage.GENERATE, FITTING)


def test_a_worker_that_takes_one_vendors_topics_reserves_its_time_alone() -> None:
    services: Any = SimpleNamespace(recipes={KIND: FITTING})
    (ark,) = FITTING.others
    assert reserve_of(services, ["generate-vod-normal"]) == limit_of(Stage.GENERATE, FITTING)
    assert reserve_of(services, ["generate-ark-normal"]) == limit_of(Stage.GENERATE, ark)


@pytest.mark.parametrize("vendor", ["vod", "ark"])
def test_the_setting_reaches_the_policy(vendor: str) -> None:
    settings = load_settings({"ENVIRONMENT": "development", "FITTING_VENDOR": vendor})
    assert _policy(settings).vendors == {KIND: vendor}


def test_every_kind_with_several_vendors_has_its_setting() -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(Settings)}
    for kind, recipe in RECIPES.items():
        field = fields.get(f"{kind.upper()}_VENDOR")
        assert (field is not None) == bool(recipe.others)
        if field is not None:
            assert (field.default, set(get_args(field.type))) == (recipe.vendor, {form.vendor for form in recipe.forms})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"deadline_s": 1}, "deadline_s"),
        ({"vendor": "runninghub"}, "a vendor of its own"),
        ({"vendor": ""}, "a vendor of its own"),
        ({"result": "other_{:02d}.{}"}, "result"),
        ({"kind": "another"}, "kind"),
        ({"count": 3}, "count"),
    ],
)
def test_forms_that_are_not_one_sale_are_refused(change: dict[str, Any], why: str) -> None:
    fields = {name: getattr(MODEL_POSE12, name) for name in MODEL_POSE12.__struct_fields__}
    # Changed without the recipe's own check, which some of the values would fail.
    other: Any = SimpleNamespace(**{**fields, "vendor": "ark", **change})
    with pytest.raises(BadRecipe, match=why):
        msgspec.structs.replace(MODEL_POSE12, others=(other,))
