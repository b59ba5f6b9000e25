"""A broker that is killed with traffic on it, and workers that go on when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consumers.engine.limits import limit_of
from messages.bodies import Stage, Wake
from messages.codec import Message, encode, new_header
from messages.keys import RunId
from messages.signing import MessageKeys
from messages.topics import topic_of
from recipes.model_pose12 import MODEL_POSE12
from sandbox.pulsar import LocalPulsar
from tasks.wakes import INDEX
from tests.chaos.deployment import Deployment, Worker, opened, through, until
from tests.support.patience import PATIENCE_S
from transport.errors import BrokerDown

pytestmark = [pytest.mark.own_pulsar, pytest.mark.slow, pytest.mark.timeout(600)]

RATE = 50
"""Light messages a second: even on a busy machine workers keep up with them."""
TASKS = 4


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[LocalPulsar]:
    broker = LocalPulsar(tmp_path / "victim")
    try:
        yield broker.start()
    finally:
        broker.wipe()


def light(task: str, keys: MessageKeys) -> bytes:
    """A wake for a run that does not exist: a worker looks, logs that it is done, and acks."""
    return encode(Message(new_header(RunId("u-1024", task), Stage.WAKE, time.time()), Wake(INDEX)), keys)


class Flow:
    """Publishes light messages at a steady rate; each one with a receipt must be worked on."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._stop = asyncio.Event()
        self.confirmed: set[str] = set()
        """Tasks of the messages; a message that a dying worker had begun goes on as a copy, with another id."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        started, sent = loop.time(), 0
        async with asyncio.TaskGroup() as sends:
            while not self._stop.is_set():
                while sent < (loop.time() - started) * RATE:
                    sends.create_task(self._one(f"light-{sent}"))
                    sent += 1
                await asyncio.sleep(0.005)

    async def _one(self, task: str) -> None:
        # On a busy machine the broker may take longer to start than a publish waits.
        with contextlib.suppress(BrokerDown):
            await self._deployment.out.broker.publish(topic_of(Stage.WAKE), light(task, self._deployment.out.keys))
            self.confirmed.add(task)

    def stop(self) -> None:
        self._stop.set()


async def looked(workers: list[Worker]) -> list[dict[str, Any]]:
    """Log lines of the workers about light messages, one for each message."""
    said = await asyncio.gather(*(asyncio.to_thread(worker.said) for worker in workers))
    return [line for lines in said for line in lines if _is_light(line)]


def _is_light(line: dict[str, Any]) -> bool:
    return line["event"] == "message.done" and str(line["task_id"]).startswith("light-")


@through
async def test_nothing_confirmed_is_lost_pumps_go_on_at_once_and_duplicates_change_no_verdict(
    victim: LocalPulsar, tmp_path: Path
) -> None:
    variables = {"BROKER_URL": victim.url, "BROKER_ADMIN_URL": victim.admin_url, "LOG_LEVEL": "DEBUG"}
    async with opened(tmp_path, variables, duration_s=4.0) as deployment:
        workers = [await deployment.work() for _ in range(2)]
        flow = Flow(deployment)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(flow.run())
            try:
                before = await deployment.sell(TASKS, "model_pose12")
                await until(lambda: deployment.all_have(before, "call-1-1-id"), "no vendor was asked")
                await until(lambda: worked_on(workers, RATE), "the flow does not flow")
                # A worker dies too: messages that it had acked and the broker has forgotten go to another worker.
                await asyncio.to_thread(workers[0].kill)
                await asyncio.to_thread(victim.kill)
                killed = time.time()
                await asyncio.to_thread(victim.start)
                ready = time.time()
                back = await until(lambda: worked_since(workers[1:], ready), "no pump works again")
                assert back < 2 * (ready - killed), "it works again long after the broker, which had to start"
                workers.append(await deployment.keep_working())
                after = await deployment.sell(1)
                while not await twice(workers):
                    # A worker's acks of its last tenth of a second are lost when it dies.
                    await asyncio.to_thread(workers[-1].kill)
                    workers.append(await deployment.keep_working())
                    await until(lambda: worked_since(workers[-1:], 0), "a new worker does not work")
            finally:
                flow.stop()
        # A paid call of a worker that may live is waited for as long as it may take; the delay is jittered.
        ends = 1.2 * limit_of(Stage.GENERATE, MODEL_POSE12) + PATIENCE_S / 2
        await until(lambda: deployment.all_have([*before, *after], "delivered"), "not every task ended", ends)
        await all_seen(workers, flow.confirmed)
        assert await twice(workers)
        for sold in [*before, *after]:
            await deployment.judge(sold, "success")
        jobs = (await deployment.stats())["jobs"]
        assert len(jobs) == TASKS, "the vendor was paid once a task"


async def worked_on(workers: list[Worker], count: int) -> bool:
    return len(await looked(workers)) >= count


async def worked_since(workers: list[Worker], when: float) -> bool:
    """True if each of these workers has worked on a message since."""
    stamp = datetime.fromtimestamp(when, UTC).isoformat()
    said = [await looked([worker]) for worker in workers]
    return all(lines and lines[-1]["time"] > stamp for lines in said)


async def twice(workers: list[Worker]) -> int:
    """Messages that were worked on more than once."""
    times = Counter(line["task_id"] for line in await looked(workers))
    return sum(count > 1 for count in times.values())


async def all_seen(workers: list[Worker], tasks: set[str]) -> None:
    """Wait until every message was worked on, for as long as there is progress: a busy machine is slow, not wrong."""
    left = await missing(workers, tasks)
    while left:
        count = len(left)

        async def fewer(before: int = count) -> bool:
            return len(await missing(workers, tasks)) < before

        try:
            await until(fewer, "a confirmed message was lost")
        except AssertionError as error:
            error.add_note(f"of {len(tasks)} these: {sorted(left)[:20]}")
            raise
        left = await missing(workers, tasks)


async def missing(workers: list[Worker], tasks: set[str]) -> set[str]:
    return tasks - {line["task_id"] for line in await looked(workers)}
