"""Five bugs of the system that this one replaces; each must stay impossible here."""

from __future__ import annotations

import asyncio

import pytest

from messages.bodies import Collect, Job, Stage
from messages.codes import Code
from messages.errors import Rejected
from messages.topics import dead_letter_topic
from recipes.recipe import parse_params
from recipes.table import RECIPES
from tests.engine.standins import Create
from tests.engine.world import World, photo


async def test_work_cut_off_after_return(world: World) -> None:
    """A function's instance is frozen once its handler has returned: what was still to do was never done."""
    run = await world.order()
    while world.wire.open:
        before = asyncio.all_tasks()
        delivery, consumer = await world.take()
        listening = asyncio.all_tasks() - before
        await world.run(delivery, consumer)
        assert asyncio.all_tasks() - before <= listening, f"work goes on after {world.told[-1]}"
        world.engine = world.new_engine()  # the instance is never thawed: another one takes the next message
    await world.promise(run, "success")


async def test_a_callers_timeout_taken_for_a_failure(world: World) -> None:
    """The caller gave up after 15 s and refunded, while the work went on and succeeded."""
    world.vendor.creates.append(Create(answer="lost"))
    run = await world.order()
    await world.run(*await world.until("generate"))
    assert await world.ledger.verdict(run) is None
    await world.wake(run, "webhook", job=Job(1, "job1"))
    await world.drain()
    await world.promise(run, "success")
    assert world.vendor.paid == ["job1"]


@pytest.mark.parametrize("kind", sorted(RECIPES))
async def test_parameters_images_over_the_images(world: World, kind: str) -> None:
    """`images` among the parameters replaced the uploaded photo, so the vendor saw none."""
    with pytest.raises(Rejected) as refused:
        parse_params(RECIPES[kind], {"images": []})
    assert refused.value.code is Code.BAD_PARAMETERS
    assert "images" in str(refused.value)
    run = await world.upload(kind, {"images": ["https://elsewhere.example/a.jpg"]})
    await world.take_in(run)
    await world.drain()
    await world.promise(run, "failed", Code.BAD_PARAMETERS)
    assert world.vendor.paid == []


async def test_converted_twice(world: World) -> None:
    """A second conversion of what was converted already left nothing over."""
    rules: list[tuple[bytes, str]] = []
    paint = world.data._process
    world.data._process = lambda body, rule: (rules.append((body, rule)), paint(body, rule))[1]
    run = await world.order()
    first = await world.until("clean")
    await world.wire.publish(first[0].topic, first[0].payload)
    second = await world.until("clean")
    await asyncio.gather(world.run(*first), world.run(*second))
    await world.drain()
    await world.promise(run, "success")
    assert {body for body, _ in rules} == {photo()}
    (upload,) = world.vendor.uploads
    assert upload.endswith(f"{len(paint(*rules[0]).body)}")


async def test_a_late_failure_over_a_success(world: World) -> None:
    """The caller's time-out came after the result and wrote `failed` over it."""
    run = await world.order()
    late, consumer = await world.until("collect")
    await world.run(late, consumer)
    verdict = await world.promise(run, "success")
    await world.say(run, Stage.COLLECT, Collect(Job(1, "job1")), seq=9, attempt=9)
    await world.wire.publish(dead_letter_topic(late.topic), late.payload)
    await world.drain()
    assert await world.promise(run, "success") == verdict
    assert world.heard(run) == ["success"]
