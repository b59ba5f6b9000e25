"""A task that goes well, and everything of it delivered more than once."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image

from messages.bodies import Clean, Stage
from messages.codec import decode
from telemetry import points
from tests.engine.harness import Harness
from tests.engine.standins import Plan

STAGES = ("clean", "generate", "poll", "collect")


async def test_one_upload_becomes_twelve_frames_one_create_one_callback(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert [item.target for item in verdict.manifest] == [
        f"output/{run.user}/{run.task}/frame_{n:02d}.jpg" for n in range(1, 13)
    ]
    assert harness.vendor.paid == [verdict.job]
    assert harness.heard(run) == ["success"]
    assert await harness.dead_letters() == []


async def test_a_kind_without_a_vendor_ends_with_clean(harness: Harness) -> None:
    run = await harness.order("basic_clean", {"format": "webp"})
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert [item.target.rpartition("/")[2] for item in verdict.manifest] == ["result_01.webp"]
    assert harness.vendor.paid == []
    assert [reported.split()[1] for reported in harness.reported] == ["clean-0"]


async def test_results_of_another_format_are_sold_as_jpg(harness: Harness) -> None:
    saved = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(saved, "PNG")
    harness.files.png = saved.getvalue()
    harness.vendor.plans.append(Plan(type="png"))
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    for item in verdict.manifest:
        assert (await harness.data.get(item.target)).body[:3] == b"\xff\xd8\xff"


async def test_every_point_is_reached_in_the_order_that_is_declared(harness: Harness) -> None:
    seen: list[str] = []
    points.install(seen.append)
    harness.vendor.plans.append(Plan(looks=0))
    await harness.order()
    await harness.drain()
    assert list(dict.fromkeys(seen)) == list(points.POINTS)


async def test_waiting_for_the_vendor_is_a_delayed_message_and_costs_no_attempt(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=20))
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    polls = harness.sent("poll")
    assert [poll.seq for poll in polls] == list(range(21))
    assert {poll.attempt for poll in polls} == {0}
    assert polls[0].not_before >= 0.8 * 90 * 1000
    marked = sorted(name for name in await harness.records(run) if name.startswith("begun-poll"))
    assert marked == ["begun-poll.1-0", "begun-poll.1-16", "begun-poll.1-8"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_message_published_twice_changes_nothing(harness: Harness, stage: str) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    again = await harness.wire.publish(delivery.topic, delivery.payload)
    assert again != delivery.message_id
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1
    assert harness.heard(run) == ["success"]
    assert harness.injector.count("objects.audit .*frame") == 12


@pytest.mark.parametrize("stage", STAGES)
async def test_a_message_published_twice_and_worked_on_at_once_changes_nothing(harness: Harness, stage: str) -> None:
    run = await harness.order()
    first = await harness.until(stage)
    await harness.wire.publish(first[0].topic, first[0].payload)
    second = await harness.until(stage)
    await asyncio.gather(harness.run(*first), harness.run(*second))
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1
    assert harness.heard(run) == ["success"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_message_delivered_again_after_its_ack_was_lost_changes_nothing(harness: Harness, stage: str) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    await harness.run(delivery, consumer)
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1
    assert harness.heard(run) == ["success"]
    assert max(sent.header.attempt for sent in harness.wire.sent) <= 1


@pytest.mark.parametrize("stage", STAGES)
async def test_a_message_given_to_a_second_holder_while_the_first_works_changes_nothing(
    harness: Harness, stage: str
) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    await asyncio.gather(harness.run(delivery, consumer), harness.run(delivery, consumer))
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1
    assert set(harness.heard(run)) == {"success"}


async def test_every_first_message_delivered_twice_and_published_twice_changes_nothing(harness: Harness) -> None:
    run = await harness.order()
    doubled: set[bytes] = set()
    while harness.wire.open:
        delivery, consumer = await harness.take()
        first = delivery.payload not in doubled
        if first:
            doubled.add(delivery.payload)
            await harness.wire.publish(delivery.topic, delivery.payload)
        await harness.run(delivery, consumer)
        if first and decode(delivery.payload).header.seq == 0:
            await harness.run(delivery, consumer)
        assert len(harness.reported) < 300
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_an_upload_event_that_comes_again_changes_nothing(harness: Harness) -> None:
    run = await harness.order()
    assert await harness.take_in(run) == "again"
    await harness.pass_by("poll")
    assert await harness.take_in(run) == "again"
    await harness.drain()
    await harness.promise(run, "success")
    assert await harness.take_in(run) == "ended"
    assert len(harness.vendor.paid) == 1
    assert harness.heard(run) == ["success"]


async def test_what_clean_made_counts_though_another_clean_is_late(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("generate")
    before = await harness.records(run)
    await harness.say(run, Stage.CLEAN, Clean(), seq=1, kind="model_pose12")
    await harness.drain()
    await harness.promise(run, "success")
    assert (await harness.records(run))["cleaned"] == before["cleaned"]
    assert harness.injector.count("objects.process") == 1
    assert len(harness.vendor.paid) == 1
