"""A message counts only with the signature of a key that may sign it; what a newer build signs waits for one."""

from __future__ import annotations

import dataclasses
import json

import msgspec
import pytest

from consumers.engine.retry import PUT_BACK_DELAY, PUT_BACK_FOR
from consumers.runners.cloud_event import records_in
from messages.bodies import Clean, Collect, Generate, Job, Notify, Poll, Stage, Wake
from messages.codec import SCHEMA, Header, Message, encode
from messages.errors import BadSignature
from messages.keys import RunId
from messages.signing import MessageKey, MessageKeys
from tests.engine.standins import Sent
from tests.engine.world import KEYS, World

OTHER = b"a key that nobody in the world has"
TRUE = b"a key of the messages in tests, 32 bytes"
NEWER = MessageKeys([MessageKey("t2", OTHER)])
FORGERS = {
    "no signature": MessageKeys(),
    "another secret under a known key": MessageKeys([MessageKey("t1", OTHER)]),
}
BODIES = {
    Stage.CLEAN: Clean(),
    Stage.GENERATE: Generate(),
    Stage.POLL: Poll((Job(1, "job1"),), 0),
    Stage.COLLECT: Collect(Job(1, "job1")),
    Stage.WAKE: Wake("cancel"),
    Stage.NOTIFY: Notify(0),
}


def message(world: World, stage: str, run: RunId, *, age: float = 0.0) -> Message:
    created = int((world.now() - age) * 1000)
    body = BODIES.get(Stage(stage)) if stage in set(Stage) else Clean()
    return Message(Header(SCHEMA, stage, run.user, run.task, 0, 0, 9, 0, created), body or Clean())


def foreign(world: World, since: int) -> list[Sent]:
    """What was published since then."""
    return world.wire.sent[since:]


@pytest.mark.parametrize("forger", FORGERS)
@pytest.mark.parametrize("stage", BODIES)
async def test_a_forged_message_is_an_unreadable_dead_letter_at_once(world: World, stage: Stage, forger: str) -> None:
    run = await world.order()
    held, consumer = await world.until("clean")
    records = await world.records(run)
    before = world.now()
    await world.wire.publish("poll", encode(message(world, stage, run), FORGERS[forger]))
    await world.step()
    await world.step()
    assert world.now() - before < 1
    assert await world.records(run) == records
    (found,) = await world.desk()
    assert (found["reason"], found["error"], found["verdict"]) == ("unreadable", "BadSignature", "leave")
    await consumer.release(held)
    await world.drain()
    await world.promise(run, "success")


async def test_a_key_of_a_webhook_is_believed_for_wakes_alone(world: World) -> None:
    hook = MessageKey("w1", OTHER, frozenset({"wake"}))
    world.out = dataclasses.replace(world.out, keys=MessageKeys([MessageKey("t1", TRUE), hook], accept_unsigned=False))
    world.engine = world.new_engine()
    run = await world.order()
    await world.wire.lose(*await world.until("poll"))
    await world.wire.publish("wake", encode(message(world, "wake", run), MessageKeys([hook])))
    await world.step()
    assert [letter["error"] for letter in await world.desk()] == []
    stolen = MessageKeys([MessageKey("w1", OTHER)])
    await world.wire.publish("collect", encode(message(world, "collect", run), stolen))
    await world.step()
    await world.step()
    assert [letter["error"] for letter in await world.desk()] == ["BadSignature"]


@pytest.mark.parametrize("newer", ["key", "stage", "schema"])
async def test_what_a_newer_build_writes_is_put_back_as_it_came_and_waits_for_one(world: World, newer: str) -> None:
    run = await world.order("basic_clean")
    await world.drain()
    first = message(world, "prompt" if newer == "stage" else "clean", run)
    if newer == "schema":
        first = msgspec.structs.replace(first, header=msgspec.structs.replace(first.header, version=SCHEMA + 1))
    # With a field more, which no build here would write.
    data = encode(first, NEWER if newer == "key" else KEYS)
    since = len(world.wire.sent)
    begun = world.now()
    await world.wire.publish("poll", data)
    await world.step()
    (sent, copy) = foreign(world, since)
    assert (copy.topic, copy.payload) == (sent.topic, data)
    assert PUT_BACK_DELAY <= copy.delay <= 2 * PUT_BACK_DELAY
    assert await world.desk() == []
    await world.drain()
    (found,) = await world.desk()
    assert PUT_BACK_FOR <= world.now() - begun <= PUT_BACK_FOR + 2 * PUT_BACK_DELAY
    assert (found["reason"], found["error"], found["verdict"]) == ("unreadable", "NewerMessage", "leave")
    assert len(foreign(world, since)) < PUT_BACK_FOR / PUT_BACK_DELAY + 3


async def test_a_message_of_a_newer_key_is_worked_on_once_the_key_is_known(world: World) -> None:
    run = await world.order("basic_clean")
    lost, consumer = await world.until("clean")
    await world.wire.lose(lost, consumer)
    head = world.sent("clean")[0]
    await world.wire.publish(lost.topic, encode(Message(head, Clean()), NEWER))
    await world.step()
    both = MessageKeys([MessageKey("t1", TRUE), MessageKey("t2", OTHER)], accept_unsigned=False)
    world.out = dataclasses.replace(world.out, keys=both)
    world.engine = world.new_engine()
    await world.drain()
    await world.promise(run, "success")


@pytest.mark.parametrize("age", [PUT_BACK_FOR + 1, -3600.0, -1e6])
async def test_no_forged_time_keeps_a_message_alive(world: World, age: float) -> None:
    run = await world.order("basic_clean")
    await world.drain()
    before = world.now()
    await world.wire.publish("poll", encode(message(world, "clean", run, age=age), NEWER))
    await world.drain()
    assert world.now() - before < 1
    assert [letter["error"] for letter in await world.desk()] == ["NewerMessage"]


async def test_every_message_of_a_task_is_signed(world: World) -> None:
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    assert {json.loads(sent.payload)[2][:2] for sent in world.wire.sent} == {"t1"}


def test_a_pushed_record_is_checked_too() -> None:
    now = Header(SCHEMA, "wake", "u", "t", 0, 0, 0, 0, 1)
    forged = encode(Message(now, Wake("cancel")), FORGERS["another secret under a known key"]).decode()
    true = encode(Message(now, Wake("cancel")), KEYS).decode()
    events = {"EventList": [{"data": {"msgBody": body, "topic": "wake"}} for body in (forged, true)]}
    bad, good = (record.message for record in records_in(events, KEYS))
    assert isinstance(bad, BadSignature)
    assert isinstance(good, Message)
