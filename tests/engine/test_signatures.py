"""A message counts only with the signature of a key that may sign it; one of a newer build waits for such a build."""

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
from tests.engine.harness import KEYS, Harness
from tests.engine.standins import Sent

OTHER = b"a key that nobody in the harness has"
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


def message(harness: Harness, stage: str, run: RunId, *, age: float = 0.0) -> Message:
    created = int((harness.now() - age) * 1000)
    body = BODIES.get(Stage(stage)) if stage in set(Stage) else Clean()
    return Message(Header(SCHEMA, stage, run.user, run.task, 0, 0, 9, 0, created), body or Clean())


def foreign(harness: Harness, since: int) -> list[Sent]:
    """Messages that were published since then."""
    return harness.wire.sent[since:]


@pytest.mark.parametrize("forger", FORGERS)
@pytest.mark.parametrize("stage", BODIES)
async def test_a_forged_message_is_an_unreadable_dead_letter_at_once(
    harness: Harness, stage: Stage, forger: str
) -> None:
    run = await harness.order()
    held, consumer = await harness.until("clean")
    records = await harness.records(run)
    before = harness.now()
    await harness.wire.publish("poll", encode(message(harness, stage, run), FORGERS[forger]))
    await harness.step()
    await harness.step()
    assert harness.now() - before < 1
    assert await harness.records(run) == records
    (found,) = await harness.dead_letters()
    assert (found["reason"], found["error"], found["verdict"]) == ("unreadable", "BadSignature", "leave")
    await consumer.release(held)
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_key_of_a_webhook_is_believed_for_wakes_alone(harness: Harness) -> None:
    hook = MessageKey("w1", OTHER, frozenset({"wake"}))
    harness.out = dataclasses.replace(
        harness.out, keys=MessageKeys([MessageKey("t1", TRUE), hook], accept_unsigned=False)
    )
    harness.engine = harness.new_engine()
    run = await harness.order()
    await harness.wire.lose(*await harness.until("poll"))
    await harness.wire.publish("wake", encode(message(harness, "wake", run), MessageKeys([hook])))
    await harness.step()
    assert [letter["error"] for letter in await harness.dead_letters()] == []
    stolen = MessageKeys([MessageKey("w1", OTHER)])
    await harness.wire.publish("collect", encode(message(harness, "collect", run), stolen))
    await harness.step()
    await harness.step()
    assert [letter["error"] for letter in await harness.dead_letters()] == ["BadSignature"]


@pytest.mark.parametrize("newer", ["key", "stage", "schema"])
async def test_what_a_newer_build_writes_is_put_back_as_it_came_and_waits_for_one(harness: Harness, newer: str) -> None:
    run = await harness.order("basic_clean")
    await harness.drain()
    first = message(harness, "upscale" if newer == "stage" else "clean", run)
    if newer == "schema":
        first = msgspec.structs.replace(first, header=msgspec.structs.replace(first.header, version=SCHEMA + 1))
    # With a field more, which no build here would write.
    data = encode(first, NEWER if newer == "key" else KEYS)
    since = len(harness.wire.sent)
    begun = harness.now()
    await harness.wire.publish("poll", data)
    await harness.step()
    (sent, copy) = foreign(harness, since)
    assert (copy.topic, copy.payload) == (sent.topic, data)
    assert PUT_BACK_DELAY <= copy.delay <= 2 * PUT_BACK_DELAY
    assert await harness.dead_letters() == []
    await harness.drain()
    (found,) = await harness.dead_letters()
    assert PUT_BACK_FOR <= harness.now() - begun <= PUT_BACK_FOR + 2 * PUT_BACK_DELAY
    assert (found["reason"], found["error"], found["verdict"]) == ("unreadable", "NewerMessage", "leave")
    assert len(foreign(harness, since)) < PUT_BACK_FOR / PUT_BACK_DELAY + 3


async def test_a_message_of_a_newer_key_is_worked_on_once_the_key_is_known(harness: Harness) -> None:
    run = await harness.order("basic_clean")
    lost, consumer = await harness.until("clean")
    await harness.wire.lose(lost, consumer)
    head = harness.sent("clean")[0]
    await harness.wire.publish(lost.topic, encode(Message(head, Clean()), NEWER))
    await harness.step()
    both = MessageKeys([MessageKey("t1", TRUE), MessageKey("t2", OTHER)], accept_unsigned=False)
    harness.out = dataclasses.replace(harness.out, keys=both)
    harness.engine = harness.new_engine()
    await harness.drain()
    await harness.promise(run, "success")


@pytest.mark.parametrize("age", [PUT_BACK_FOR + 1, -3600.0, -1e6])
async def test_no_forged_time_keeps_a_message_alive(harness: Harness, age: float) -> None:
    run = await harness.order("basic_clean")
    await harness.drain()
    before = harness.now()
    await harness.wire.publish("poll", encode(message(harness, "clean", run, age=age), NEWER))
    await harness.drain()
    assert harness.now() - before < 1
    assert [letter["error"] for letter in await harness.dead_letters()] == ["NewerMessage"]


async def test_every_message_of_a_task_is_signed(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert {json.loads(sent.payload)[2][:2] for sent in harness.wire.sent} == {"t1"}


def test_a_pushed_record_is_checked_too() -> None:
    now = Header(SCHEMA, "wake", "u", "t", 0, 0, 0, 0, 1)
    forged = encode(Message(now, Wake("cancel")), FORGERS["another secret under a known key"]).decode()
    true = encode(Message(now, Wake("cancel")), KEYS).decode()
    events = {"EventList": [{"data": {"msgBody": body, "topic": "wake"}} for body in (forged, true)]}
    bad, good = (record.message for record in records_in(events, KEYS))
    assert isinstance(bad, BadSignature)
    assert isinstance(good, Message)
