"""The drain as a function: many instances, its time limit, and what it holds between calls."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from messages.bodies import Clean, Stage
from messages.codec import Message, encode, new_header
from messages.keys import RunId
from messages.topics import FAILURE, WORKERS, dead_letter_topic
from sandbox.environment import Sandbox
from sandbox.scf import Answer, Status
from tests.serverless.functions import HANDLERS, ROOT, SLOWED, alone, function, lines, slowed
from tests.serverless.places import PLACES, on_every_broker, opened
from tests.support.patience import PATIENCE_S
from tests.support.pulsar_place import KEEP_ALIVE
from tests.support.signing import keys_of

pytestmark = pytest.mark.slow

MANY: Final = 500
TOPIC: Final = "clean-normal"
numbers = itertools.count()


async def publish(sandbox: Sandbox, queue: Mapping[str, str], count: int) -> set[str]:
    """Messages about runs that were not accepted: each becomes one dead letter. Returns their ids."""
    keys = keys_of(sandbox.environ)
    async with opened(queue) as broker:

        async def one() -> str:
            header = new_header(RunId(f"u{(number := next(numbers))}", f"t{number}"), Stage.CLEAN, time.time())
            return await broker.publish(TOPIC, encode(Message(header, Clean()), keys))

        return set(await asyncio.gather(*(one() for _ in range(count))))


async def waiting(queue: Mapping[str, str], topic: str, subscription: str, count: int) -> Counter[str]:
    """Take all waiting messages: `count`, and then no more. Return message id -> number of deliveries."""
    async with opened(queue) as broker:
        consumer = await broker.subscribe([topic], subscription, prefetch=50)
        found = Counter([(await consumer.receive()).message_id for _ in range(count)])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consumer.receive(), 2)
        await consumer.close()
        return found


def done_in(log: Path) -> Counter[str]:
    """Message id -> how often it was done."""
    return Counter(line["message_id"] for line in lines(log, "message.done"))


def environ(sandbox: Sandbox, queue: Mapping[str, str], **others: str) -> dict[str, str]:
    return {**sandbox.environ, **queue, "WORK_TOPICS": TOPIC, "TRACE_FILE": "", **others}


def counts(answer: Answer) -> dict[str, Any]:
    assert answer.status == Status.OK, answer
    return dict(answer.result)


@on_every_broker
@alone
async def test_three_instances_do_five_hundred_messages_once_and_return_in_time(
    sandbox: Sandbox, queue: Mapping[str, str], tmp_path: Path
) -> None:
    ids = await publish(sandbox, queue, MANY)
    log = tmp_path / "drain.log"
    async with function(
        "consumers.runners.drain",
        environ(sandbox, queue),
        time_limit_s=PATIENCE_S,
        concurrency=3,
        memory_mb=256,
        log=log,
    ) as drain:
        answers = await asyncio.gather(*(drain.invoke({}) for _ in range(3)))
        assert all(answer.seconds < PATIENCE_S for answer in answers)
        shares = [counts(answer) for answer in answers]
        assert sum(share["done"] for share in shares) == MANY
        assert all(share["done"] > 0 for share in shares)
        assert [share["ended"] for share in shares] == ["empty"] * 3
        assert not any(share["cut_off"] + share["throttled"] + share["abandoned"] for share in shares)
        # A message kept by a frozen instance, or one whose ack was lost, would come again now.
        assert await waiting(queue, TOPIC, WORKERS, 0) == Counter()
        assert done_in(log) == Counter(ids)
        letters = await waiting(queue, dead_letter_topic(TOPIC), FAILURE, MANY)
        assert set(letters.values()) == {1}


@on_every_broker
@alone
async def test_a_call_returns_before_its_limit_and_the_rest_is_with_others_at_once(
    sandbox: Sandbox, queue: Mapping[str, str], tmp_path: Path
) -> None:
    # At a quarter of a second each they take two and a half times the limit.
    ids = await publish(sandbox, queue, 120)
    log = tmp_path / "drain.log"
    settings = environ(sandbox, queue, WORK_CONCURRENCY="1", **slowed("consumers.runners.drain", 0.25))
    async with function(SLOWED, settings, time_limit_s=12, log=log) as drain:
        answer = await drain.invoke({})
        assert (counts(answer)["ended"], answer.seconds < 12) == ("time", True)
        done = done_in(log)
        assert 0 < done.total() == counts(answer)["done"]
        assert await waiting(queue, TOPIC, WORKERS, len(ids) - done.total()) + done == Counter(ids)


@on_every_broker
@alone
async def test_a_frozen_instance_holds_nothing(sandbox: Sandbox, queue: Mapping[str, str], tmp_path: Path) -> None:
    await publish(sandbox, queue, 5)
    settings = environ(sandbox, queue)
    async with function("consumers.runners.drain", settings, time_limit_s=PATIENCE_S) as frozen:
        assert counts(await frozen.invoke({}))["done"] == 5
        began = time.monotonic()
        ids = await publish(sandbox, queue, 60)
        log = tmp_path / "other.log"
        async with function("consumers.runners.drain", settings, time_limit_s=PATIENCE_S, log=log) as other:
            assert counts(await other.invoke({}))["done"] == 60
        assert done_in(log) == Counter(ids)
        # Thawed after a while, in which the broker has dropped its connections, it works on.
        await asyncio.sleep(max(0.0, began + 2 * KEEP_ALIVE + 1 - time.monotonic()))
        await publish(sandbox, queue, 5)
        assert counts(await frozen.invoke({}))["done"] == 5


@alone
async def test_generate_needs_time_for_a_whole_paid_call(sandbox: Sandbox) -> None:
    settings = {name: value for name, value in sandbox.environ.items() if name != "WORK_TOPICS"}
    async with function("consumers.runners.drain", settings, time_limit_s=60) as drain:
        answer = await drain.invoke({})
        assert (answer.status, answer.error["errorCode"]) == (Status.FAILED, "BadSettings")
        for words in ("time limit of 60 s", "raise the limit to 352 s or more", "WORK_TOPICS"):
            assert words in answer.error["errorMessage"]
        narrowed = await drain.invoke({"Type": "Timer", "Message": '{"topics": ["poll", "wake"]}'})
        assert counts(narrowed)["ended"] == "empty"


@alone
async def test_a_topic_that_does_not_exist_is_named(sandbox: Sandbox) -> None:
    async with function("consumers.runners.drain", {**sandbox.environ, "WORK_TOPICS": "wake, pull"}) as drain:
        answer = await drain.invoke({})
        assert "WORK_TOPICS: topic 'pull'" in answer.error["errorMessage"]
    async with function("consumers.runners.drain", {**sandbox.environ, "WORK_TOPICS": "wake"}) as drain:
        answer = await drain.invoke({"topics": ["poll"]})
        assert "asks for poll" in answer.error["errorMessage"]
        answer = await drain.invoke({"Type": "Timer", "Message": '{"topic": ["wake"]}'})
        assert "may ask only for topics" in answer.error["errorMessage"]


@alone
async def test_a_broker_that_goes_away_does_not_hold_a_call_beyond_its_limit(sandbox: Sandbox, tmp_path: Path) -> None:
    queue = PLACES["file"](tmp_path)
    await publish(sandbox, queue, 4)
    path = os.pathsep.join((str(ROOT), str(HANDLERS)))
    settings = environ(sandbox, queue, LOCKED_S="13", WORK_CONCURRENCY="1", PYTHONPATH=path)
    async with function("locked_drain", settings, time_limit_s=12, log=tmp_path / "log") as drain:
        answer = await drain.invoke({})
        assert (answer.status, answer.error["errorCode"]) == (Status.FAILED, "Unsettled")
        assert answer.seconds < 12
        # The same instance works on, over a new connection.
        assert counts(await drain.invoke({}))["done"] >= 3
        assert drain.stats.cold_starts == 1
