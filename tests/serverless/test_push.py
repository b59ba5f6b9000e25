"""The push as a function, behind a bridge that takes messages off the queue as EventBridge does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from messages.bodies import Clean, Stage
from messages.codec import Message, decode, encode, new_header
from messages.keys import RunId
from messages.topics import FAILURE, WORKERS
from sandbox.environment import Sandbox
from sandbox.scf import Function, Status
from tasks.topics import DEAD_LETTER_TOPICS, WORK_TOPICS
from tests.serverless.functions import HANDLERS, ROOT, SLOWED, alone, buyer_of, function, lines, slowed, until
from tests.serverless.places import on_every_broker, opened
from tests.support.patience import PATIENCE_S
from tests.support.signing import keys_of
from transport.port import Broker, Delivery

pytestmark = pytest.mark.slow

TOO_MANY: Final = 120
"""At a quarter of a second each they take two and a half times the limit of 12 s."""


def enveloped(delivery: Delivery) -> dict[str, Any]:
    """As EventBridge, "TDMQ connector", has it."""
    return {
        "specversion": "1.0",
        "id": "13a3f42d-7258-4ada-da6d-023a333b4662",
        "type": "connector:tdmq",
        "source": "tdmq.cloud.tencent",
        "time": str(round(time.time() * 1000)),
        "region": "ap-guangzhou",
        "datacontenttype": "application/json;charset=utf-8",
        "data": {
            "topic": f"persistent://pulsar-1/default/{delivery.topic}",
            "TopicType": "0",
            "subscriptionName": WORKERS,
            "msgId": delivery.message_id,
            "msgBody": delivery.payload.decode(),
        },
    }


async def take(broker: Broker, topic: str, count: int) -> list[dict[str, Any]]:
    """Receive this number of messages from the queue."""
    consumer = await broker.subscribe([topic], WORKERS, prefetch=0)
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(events) < count:
            delivery = await consumer.receive()
            await consumer.ack(delivery)
            events.append(enveloped(delivery))
    await consumer.close()
    return events


@asynccontextmanager
async def bridged(queue: Mapping[str, str], push: Function) -> AsyncGenerator[None]:
    """Every message of every topic calls the function, while this is open."""

    async def one(broker: Broker, topics: tuple[str, ...], subscription: str) -> None:
        consumer = await broker.subscribe(topics, subscription, prefetch=0)
        while True:
            delivery = await consumer.receive()
            push.send(enveloped(delivery))
            await consumer.ack(delivery)

    async with opened(queue) as broker:
        tasks = [
            asyncio.create_task(one(broker, topics, subscription))
            for topics, subscription in ((WORK_TOPICS, WORKERS), (DEAD_LETTER_TOPICS, FAILURE))
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await push.settle()


@on_every_broker
@alone
async def test_whole_tasks(sandbox: Sandbox, queue: Mapping[str, str], tmp_path: Path) -> None:
    push = function(
        "consumers.runners.push", sandbox.environ, time_limit_s=300, concurrency=2, log=tmp_path / "push.log"
    )
    async with buyer_of(sandbox) as buyer, push:
        posed, cleaned = await buyer.buy("model_pose12"), await buyer.buy("basic_clean")
        async with bridged(queue, push):
            await until(lambda: buyer.has_ended(posed, cleaned), "the end of both tasks")
        for sold, count in ((posed, 12), (cleaned, 1)):
            row = await buyer.row(sold)
            assert (row["status"], row["charges"], row["refunds"]) == ("success", 1, 0)
            assert len(await buyer.client.outputs(sold)) == len(row["outputs"]) == count
        assert set(push.stats.by_status) == {Status.OK}


@on_every_broker
@alone
async def test_seven_of_ten_are_done_though_three_are_bad(
    sandbox: Sandbox, queue: Mapping[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "push.log"
    stranger = new_header(RunId("u-1", "nobody"), Stage.CLEAN, time.time())
    bad = [
        enveloped(Delivery("1:1", "clean-normal", b"Hello from TDMQ!")),
        enveloped(Delivery("1:2", "clean-normal", encode(Message(stranger, Clean()), keys_of(sandbox.environ)))),
        {"specversion": "1.0", "type": "something:else"},
    ]
    settings = {**sandbox.environ, "USER_CONCURRENCY": "0"}
    async with (
        buyer_of(sandbox) as buyer,
        opened(queue) as broker,
        function("consumers.runners.push", settings, time_limit_s=300, log=log) as push,
    ):
        sold = [await buyer.buy("basic_clean") for _ in range(7)]
        good = await take(broker, "clean-normal", 7)
        answer = await push.invoke({"EventList": [*good[:3], *bad, *good[3:]]})
        assert answer.status == Status.OK
        assert {name: count for name, count in answer.result.items() if count} == {
            "records": 10,
            "done": 10,
            "unreadable": 1,
        }
        assert await buyer.has_ended(*sold)
        for one in sold:
            assert (await buyer.row(one))["status"] == "success"

        async def dead_lettered() -> bool:
            letters = [await broker.backlog(topic, FAILURE) for topic in DEAD_LETTER_TOPICS]
            return sum(letter.depth for letter in letters) == 3

        await until(dead_lettered, "three dead letters")
    assert len(lines(log, "message.unreadable")) == 2
    assert len(lines(log, "message.dead_lettered")) == 1


@on_every_broker
@alone
async def test_a_batch_too_long_for_its_limit_is_passed_on_in_time(sandbox: Sandbox, queue: Mapping[str, str]) -> None:
    headers = [new_header(RunId(f"u{n}", f"t{n}"), Stage.CLEAN, time.time()) for n in range(TOO_MANY)]
    keys = keys_of(sandbox.environ)
    records = [
        enveloped(Delivery(f"1:{n}", "clean-normal", encode(Message(header, Clean()), keys)))
        for n, header in enumerate(headers)
    ]
    slow = slowed("consumers.runners.push", 0.25)
    settings = {**sandbox.environ, **queue, **slow, "WORK_CONCURRENCY": "1", "TRACE_FILE": ""}
    async with function(SLOWED, settings, time_limit_s=12) as push, opened(queue) as broker:
        answer = await push.invoke({"EventList": records})
        assert (answer.status, answer.seconds < 12) == (Status.OK, True)
        counts = dict(answer.result)
        assert counts["done"] > 0
        assert counts["deferred"] + counts["cut_off"] > 0
        assert sum(counts[name] for name in ("done", "deferred", "cut_off")) == len(records)
        consumer = await broker.subscribe(["clean-normal"], WORKERS, prefetch=10)
        copies = [decode((await consumer.receive()).payload) for _ in range(counts["deferred"] + counts["cut_off"])]
        assert {(copy.header.seq, copy.header.attempt) for copy in copies} == {(1, 0)}
        assert len({copy.header.task for copy in copies}) == len(copies)
        await consumer.close()


@pytest.mark.parametrize("point", ["generate.intent", "generate.created", "generate.published"])
@alone
async def test_killed_in_the_middle_it_is_called_again_and_pays_nothing_again(
    sandbox: Sandbox, tmp_path: Path, point: str
) -> None:
    settings = {
        **sandbox.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(HANDLERS))),
        "DIE_AT": point,
        "DIED_FILE": str(tmp_path / "died"),
    }
    async with (
        buyer_of(sandbox) as buyer,
        opened(sandbox.environ) as broker,
        function("dying_push", settings, time_limit_s=300) as push,
    ):
        await buyer.buy("model_pose12")
        await push.invoke(*await take(broker, "clean-normal", 1))
        (event,) = await take(broker, "generate-runninghub-normal", 1)
        answer = await push.send(event)
        assert (answer.status, answer.result["done"]) == (Status.OK, 1)
        assert push.stats.by_status == {Status.OK: 2, Status.DIED: 1}
        # The second call left the copy of a crash: it is due when the dead process can have no more effect.
        backlog = await broker.backlog("generate-runninghub-normal", WORKERS)
        assert (backlog.delayed, backlog.ready) == (1, 0)
        stats = await asyncio.to_thread(sandbox.vendor_stats)
        assert stats["creates"] == (0 if point == "generate.intent" else 1)
