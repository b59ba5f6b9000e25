"""Workers that are killed, and a message that kills each process that works on it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from consumers.engine.limits import UNPAID_REST_S
from consumers.engine.retry import MAX_ATTEMPTS
from messages.bodies import Stage
from messages.codes import Code
from messages.topics import dead_letter_topic, topic_of
from tests.chaos.deployment import HANDS, opened, through, until
from tests.chaos.worker import CONCURRENCY, KILLED
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.pulsar, pytest.mark.slow, pytest.mark.timeout(600)]

TOPIC = topic_of(Stage.CLEAN)
LIMIT = 15.0
"""Seconds after which a mark's writer is taken for dead; the product's own limits are a minute and more."""


@through
async def test_a_killed_workers_messages_are_with_another_at_once_and_what_it_had_begun_soon(
    variables: dict[str, str], tmp_path: Path
) -> None:
    async with opened(tmp_path, variables) as deployment:
        tasks = await deployment.sell(CONCURRENCY + 3)
        dying = await deployment.work(*HANDS, "--limit", str(LIMIT), "--hang", name="dying")

        async def hangs() -> bool:
            return any(line.get("text") == "hanging" for line in await asyncio.to_thread(dying.said))

        async def having(record: str) -> set[str]:
            return {one.task_id for one in tasks if record in await deployment.records(one)}

        await until(hangs, "the worker began nothing")
        (first,) = await having("begun-clean-0")
        await deployment.work(*HANDS, "--limit", str(LIMIT), name="heir")

        async def idle() -> bool:
            done = await having("delivered")
            return bool(done) and await having("begun-clean-0") == {first} | done and await all_taken()

        async def all_taken() -> bool:
            return (await deployment.out.broker.backlog(TOPIC, "workers")).ready == 0

        await until(idle, "the living worker did not take what it could get")
        held = {one.task_id for one in tasks} - await having("begun-clean-0")
        assert held, "the dying one holds nothing that it has not begun"

        killed = time.time()
        await asyncio.to_thread(dying.kill)

        async def handed_over() -> bool:
            return held <= await having("begun-clean-0")

        (victim,) = (one for one in tasks if one.task_id == first)
        await until(handed_over, "what was not begun did not come to the other worker")
        others = [one for one in tasks if one is not victim]
        await until(lambda: deployment.all_have(others, "delivered"), "not all others ended")
        await until(lambda: deployment.all_have([victim], "delivered"), "the begun one did not end")
        again = (await deployment.records(victim))["begun-clean-1"]
        handed = [(await deployment.records(one))["begun-clean-0"] for one in tasks if one.task_id in held]
        assert min(handed) <= again, "what was not begun came only when the begun one came too"
        # The store keeps whole seconds.
        assert again - killed >= UNPAID_REST_S - 1, "no time was left to a worker that may live"
        for one in tasks:
            await deployment.judge(one, "success")


@through
async def test_a_message_that_kills_its_process_ends_in_the_dead_letters_and_is_refunded(
    variables: dict[str, str], tmp_path: Path
) -> None:
    async with opened(tmp_path, variables) as deployment:
        killer, *others = await deployment.sell(4)
        deaths: list[int] = []
        stopped = asyncio.Event()

        async def supervise() -> None:
            while not stopped.is_set():
                worker = await deployment.work(
                    *HANDS, "--limit", "1", "--die-on", killer.task_id, name=f"life-{len(deaths)}"
                )
                deaths.append(await asyncio.to_thread(worker.wait))

        supervising = asyncio.create_task(supervise())
        try:
            await until(
                lambda: deployment.all_have([killer, *others], "delivered"), "not every task ended", 3 * PATIENCE_S
            )
        finally:
            stopped.set()
            await deployment.close()
            await supervising
        assert deaths[:-1] == [KILLED] * MAX_ATTEMPTS
        assert deaths[-1] == 0, "the last one was told to leave"
        await deployment.judge(killer, "failed", Code.INTERNAL)
        for one in others:
            await deployment.judge(one, "success")
        letters = await deployment.out.ledger.objects.list("dead/")
        (letter,) = letters.items
        body = (await deployment.out.ledger.objects.get(letter.key)).body.decode()
        assert killer.task_id in body
        assert '"attempts"' in body
        for topic, subscription in ((TOPIC, "workers"), (dead_letter_topic(TOPIC), "failure")):

            async def empty(topic: str = topic, subscription: str = subscription) -> bool:
                return (await deployment.out.broker.backlog(topic, subscription)).depth == 0

            await until(empty, f"something is left on {topic}")


@through
async def test_a_worker_that_is_told_to_leave_leaves_nothing_unacked(variables: dict[str, str], tmp_path: Path) -> None:
    async with opened(tmp_path, variables) as deployment:
        worker = await deployment.work()
        tasks = await deployment.sell(3)
        await until(lambda: deployment.all_have(tasks, "delivered"), "not every task ended")
        # The client keeps acks for a tenth of a second: a worker that leaves at once would lose them.
        assert await asyncio.to_thread(worker.end) == 0

        async def empty() -> bool:
            return (await deployment.out.broker.backlog(TOPIC, "workers")).depth == 0

        await until(empty, "something was not acked")
        for one in tasks:
            await deployment.judge(one, "success")
