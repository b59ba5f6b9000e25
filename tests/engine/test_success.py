"""A task that goes well, and everything of it delivered more than once."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image

from messages.bodies import Clean, Stage
from messages.codec import decode
from telemetry import points
from tests.engine.standins import Plan
from tests.engine.world import World

STAGES = ("clean", "generate", "poll", "collect")


async def test_one_upload_becomes_twelve_frames_one_create_one_callback(world: World) -> None:
    run = await world.order()
    await world.drain()
    verdict = await world.promise(run, "success")
    assert [item.target for item in verdict.manifest] == [
        f"output/{run.user}/{run.task}/frame_{n:02d}.jpg" for n in range(1, 13)
    ]
    assert world.vendor.paid == [verdict.job]
    assert world.heard(run) == ["success"]
    assert await world.desk() == []


async def test_a_kind_without_a_vendor_ends_with_clean(world: World) -> None:
    run = await world.order("basic_clean", {"format": "webp"})
    await world.drain()
    verdict = await world.promise(run, "success")
    assert [item.target.rpartition("/")[2] for item in verdict.manifest] == ["result_01.webp"]
    assert world.vendor.paid == []
    assert [told.split()[1] for told in world.told] == ["clean-0"]


async def test_results_of_another_format_are_sold_as_jpg(world: World) -> None:
    saved = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(saved, "PNG")
    world.files.png = saved.getvalue()
    world.vendor.plans.append(Plan(type="png"))
    run = await world.order()
    await world.drain()
    verdict = await world.promise(run, "success")
    for item in verdict.manifest:
        assert (await world.data.get(item.target)).body[:3] == b"\xff\xd8\xff"


async def test_every_point_is_reached_in_the_order_that_is_declared(world: World) -> None:
    seen: list[str] = []
    points.install(seen.append)
    await world.order()
    await world.drain()
    assert list(dict.fromkeys(seen)) == list(points.POINTS)


async def test_waiting_for_the_vendor_is_a_delayed_message_and_costs_no_attempt(world: World) -> None:
    world.vendor.plans.append(Plan(looks=20))
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    polls = world.sent("poll")
    assert [poll.seq for poll in polls] == list(range(21))
    assert {poll.attempt for poll in polls} == {0}
    assert polls[0].not_before >= 0.8 * 90 * 1000
    marked = sorted(name for name in await world.records(run) if name.startswith("begun-poll"))
    assert marked == ["begun-poll.1-0", "begun-poll.1-16", "begun-poll.1-8"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_message_published_twice_changes_nothing(world: World, stage: str) -> None:
    run = await world.order()
    delivery, consumer = await world.until(stage)
    again = await world.wire.publish(delivery.topic, delivery.payload)
    assert again != delivery.message_id
    await world.run(delivery, consumer)
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1
    assert world.heard(run) == ["success"]
    assert world.fate.count("objects.audit .*frame") == 12


@pytest.mark.parametrize("stage", STAGES)
async def test_a_message_published_twice_and_worked_on_at_once_changes_nothing(world: World, stage: str) -> None:
    run = await world.order()
    first = await world.until(stage)
    await world.wire.publish(first[0].topic, first[0].payload)
    second = await world.until(stage)
    await asyncio.gather(world.run(*first), world.run(*second))
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1
    assert world.heard(run) == ["success"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_message_delivered_again_after_its_ack_was_lost_changes_nothing(world: World, stage: str) -> None:
    run = await world.order()
    delivery, consumer = await world.until(stage)
    await world.run(delivery, consumer)
    await world.run(delivery, consumer)
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1
    assert world.heard(run) == ["success"]
    assert max(sent.header.attempt for sent in world.wire.sent) <= 1


@pytest.mark.parametrize("stage", STAGES)
async def test_a_message_given_to_a_second_holder_while_the_first_works_changes_nothing(
    world: World, stage: str
) -> None:
    run = await world.order()
    delivery, consumer = await world.until(stage)
    await asyncio.gather(world.run(delivery, consumer), world.run(delivery, consumer))
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1
    assert set(world.heard(run)) == {"success"}


async def test_every_first_message_delivered_twice_and_published_twice_changes_nothing(world: World) -> None:
    run = await world.order()
    doubled: set[bytes] = set()
    while world.wire.open:
        delivery, consumer = await world.take()
        first = delivery.payload not in doubled
        if first:
            doubled.add(delivery.payload)
            await world.wire.publish(delivery.topic, delivery.payload)
        await world.run(delivery, consumer)
        if first and decode(delivery.payload).header.seq == 0:
            await world.run(delivery, consumer)
        assert len(world.told) < 300
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_an_upload_event_that_comes_again_changes_nothing(world: World) -> None:
    run = await world.order()
    assert await world.take_in(run) == "again"
    await world.pass_by("poll")
    assert await world.take_in(run) == "again"
    await world.drain()
    await world.promise(run, "success")
    assert await world.take_in(run) == "ended"
    assert len(world.vendor.paid) == 1
    assert world.heard(run) == ["success"]


async def test_what_clean_made_counts_though_another_clean_is_late(world: World) -> None:
    run = await world.order()
    await world.pass_by("generate")
    before = await world.records(run)
    await world.say(run, Stage.CLEAN, Clean(), seq=1, kind="model_pose12")
    await world.drain()
    await world.promise(run, "success")
    assert (await world.records(run))["cleaned"] == before["cleaned"]
    assert world.fate.count("objects.process") == 1
    assert len(world.vendor.paid) == 1
