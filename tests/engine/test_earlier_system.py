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
from tests.engine.harness import Harness, photo
from tests.engine.standins import Create


async def test_work_cut_off_after_return(harness: Harness) -> None:
    """A function's instance is frozen once its handler has returned: the remaining work was never done."""
    run = await harness.order()
    while harness.wire.open:
        before = asyncio.all_tasks()
        delivery, consumer = await harness.take()
        listening = asyncio.all_tasks() - before
        await harness.run(delivery, consumer)
        assert asyncio.all_tasks() - before <= listening, f"work goes on after {harness.reported[-1]}"
        harness.engine = harness.new_engine()  # the instance is never thawed: another one takes the next message
    await harness.promise(run, "success")


async def test_a_callers_timeout_taken_for_a_failure(harness: Harness) -> None:
    """The caller gave up after 15 s and refunded, while the work went on and succeeded."""
    harness.vendor.creates.append(Create(answer="lost"))
    run = await harness.order()
    await harness.run(*await harness.until("generate"))
    assert await harness.ledger.verdict(run) is None
    await harness.wake(run, "webhook", job=Job(1, "job1"))
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]


@pytest.mark.parametrize("kind", sorted(RECIPES))
async def test_parameters_images_over_the_images(harness: Harness, kind: str) -> None:
    """`images` among the parameters replaced the uploaded photo, so the vendor saw none."""
    with pytest.raises(Rejected) as refused:
        parse_params(RECIPES[kind], {"images": []})
    assert refused.value.code is Code.BAD_PARAMETERS
    assert "images" in str(refused.value)
    run = await harness.upload(kind, {"images": ["https://elsewhere.example/a.jpg"]})
    await harness.take_in(run)
    await harness.drain()
    await harness.promise(run, "failed", Code.BAD_PARAMETERS)
    assert harness.vendor.paid == []


async def test_converted_twice(harness: Harness) -> None:
    """A second conversion of converted inputs left none."""
    rules: list[tuple[bytes, str]] = []
    paint = harness.data._process
    harness.data._process = lambda body, rule: (rules.append((body, rule)), paint(body, rule))[1]
    run = await harness.order()
    first = await harness.until("clean")
    await harness.wire.publish(first[0].topic, first[0].payload)
    second = await harness.until("clean")
    await asyncio.gather(harness.run(*first), harness.run(*second))
    await harness.drain()
    await harness.promise(run, "success")
    assert {body for body, _ in rules} == {photo()}
    (upload,) = harness.vendor.uploads
    assert upload.endswith(f"{len(paint(*rules[0]).body)}")


async def test_a_late_failure_over_a_success(harness: Harness) -> None:
    """The caller's time-out came after the result and wrote `failed` over it."""
    run = await harness.order()
    late, consumer = await harness.until("collect")
    await harness.run(late, consumer)
    verdict = await harness.promise(run, "success")
    await harness.say(run, Stage.COLLECT, Collect(Job(1, "job1")), seq=9, attempt=9)
    await harness.wire.publish(dead_letter_topic(late.topic), late.payload)
    await harness.drain()
    assert await harness.promise(run, "success") == verdict
    assert harness.heard(run) == ["success"]
