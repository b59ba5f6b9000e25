"""A dead letter with odd fields is recorded all the same, once, and has no other effect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.stages.failure import identity_of, record_of
from messages.bodies import Body, Clean, Dead, Generate, Poll, Reason, Stage
from messages.codec import SCHEMA, Header, Message, encode
from messages.errors import Permanent
from messages.keys import dead_key, record_key
from messages.topics import dead_letter_topic
from services.errors import ObjectsDown
from tasks.ledger.records import Stopped
from tests.engine.fault_injector import raises
from tests.engine.harness import KEYS, Harness

MOST_KEY_BYTES = 850
"""The longest key that COS takes."""

TOPIC = dead_letter_topic("clean-normal")


def letter(**more: Any) -> Dead:
    plain = Dead(
        reason=Reason.PERMANENT,
        topic="clean-normal",
        message_id="7:1",
        stage="notify",
        code="internal",
        error="KeyError",
        fingerprint="0123456789ab",
        original="[]",
    )
    return msgspec.structs.replace(plain, **more)


async def publish(harness: Harness, dead: Dead, task: str = "t1") -> None:
    header = Header(SCHEMA, Stage.DEAD.value, "u1", task, 0, 0, 0, 0, int(harness.now() * 1000))
    await harness.wire.publish(TOPIC, encode(Message(header, dead), KEYS))


ODD = [
    letter(message_id="7" * 2000),
    letter(message_id="中" * 300),
    letter(message_id="../../ledger/u1/t1/0-0/verdict"),
    letter(fingerprint="f" * 2000),
    letter(fingerprint="../x"),
    letter(fingerprint=""),
    letter(topic="somebody/elses"),
    letter(topic="x" * 3000),
]


@pytest.mark.parametrize("dead", ODD)
async def test_it_is_recorded_under_a_key_that_the_store_takes(harness: Harness, dead: Dead) -> None:
    await publish(harness, dead)
    await harness.drain()
    (item,) = (await harness.ledger.objects.list("dead/")).items
    assert len(item.key.encode()) < MOST_KEY_BYTES
    assert len(item.key.split("/")) == 4
    assert harness.sent("dead")[1:] == []


def original(stage: str, seq: int, body: Body) -> str:
    """A message as a letter carries it."""
    header = Header(SCHEMA, stage, "u1", "t1", 0, 0, seq, 0, 1)
    return encode(Message(header, body)).decode()


POINTERS = [
    (letter(stage="clean", seq=3), "stopped-clean-3"),
    (letter(stage="generate", seq=3, slot=1), "stopped-generate.1-3"),
    # A letter of an older build, without the number.
    (letter(stage="clean", original=original("clean", 7, Clean())), "stopped-clean-7"),
    (letter(stage="generate", original=original("generate", 2, Generate())), "stopped-generate.1-2"),
    (letter(stage="clean", original=original("poll", 7, Poll((), 0))), None),
    (letter(stage="clean", original="[]"), None),
    (letter(stage="clean", original=original("clean", 7, Clean()), encoding="cut"), None),
    (letter(stage="clean", seq=-7), None),
    (letter(stage="clean", seq=10**30), None),
    (letter(stage="generate", seq=3, slot=10**30), None),
    (letter(stage="../../u2/t2/0-0/stopped-clean", seq=3), None),
    (letter(stage="clean", seq=3, reason=Reason.UNREADABLE), None),
]


@pytest.mark.parametrize(("dead", "name"), POINTERS)
def test_a_letter_points_to_a_record_of_its_run_or_to_none(dead: Dead, name: str | None) -> None:
    found = record_of(dead)
    assert (found.text if found else None) == name


async def test_its_copies_go_where_it_came_from_whatever_topic_it_names(harness: Harness) -> None:
    harness.injector.strike("ledger.put_new dead/", *[raises(ObjectsDown("away"))] * 3)
    await publish(harness, letter(topic="somebody/elses"))
    await harness.drain()
    assert {sent.topic for sent in harness.wire.sent if sent.header.stage == "dead"} == {TOPIC}
    assert len(harness.sent("dead")) > 1
    assert len(await harness.dead_letters()) == 1


@pytest.mark.parametrize("error", [Permanent("400 KeyTooLong"), KeyError("our own mistake")])
async def test_one_that_cannot_be_handled_gets_a_minimal_record_after_a_few_turns(
    harness: Harness, error: Exception
) -> None:
    harness.injector.strike("ledger.put_new dead/", *[raises(error)] * 5)
    await publish(harness, letter(original="x" * 4000))
    before = harness.now()
    await harness.drain()
    assert harness.now() - before < 300
    (found,) = await harness.dead_letters()
    assert (found["user"], found["task"], found["error"], found["original"]) == ("u1", "t1", "KeyError", "")
    assert found["encoding"] == "cut"


async def test_one_whose_runs_verdict_cannot_be_read_gets_a_minimal_record(harness: Harness) -> None:
    run = await harness.order()
    await harness.wire.lose(*await harness.until("clean"))
    await harness.ledger.objects.put(record_key(run, "verdict"), b"no record")
    await harness.ledger.write(run, Stopped.at("clean", 0), Stopped("permanent", "internal", "KeyError"))
    await publish(harness, letter(stage="clean", seq=0), run.task)
    await harness.drain()
    (found,) = await harness.dead_letters()
    assert (found["task"], found["verdict"], found["encoding"]) == (run.task, "leave", "cut")


async def test_an_outage_never_cuts_a_letter(harness: Harness) -> None:
    harness.injector.strike("ledger.put_new dead/", *[raises(ObjectsDown("away"))] * 30)
    await publish(harness, letter(original="x" * 4000))
    await harness.drain()
    (found,) = await harness.dead_letters()
    assert found["original"] == "x" * 4000


@given(st.text(max_size=3000), st.text(max_size=3000))
def test_no_key_is_too_long_and_none_leaves_its_folder(message_id: str, fingerprint: str) -> None:
    key = dead_key("2026-11-30", *identity_of(letter(message_id=message_id, fingerprint=fingerprint)))
    assert len(key.encode()) < MOST_KEY_BYTES
    assert len(key.split("/")) == 4
    assert ".." not in key


@given(st.text(max_size=300), st.text(max_size=300))
def test_two_letters_are_two_records(one: str, other: str) -> None:
    assert (identity_of(letter(message_id=one)) == identity_of(letter(message_id=other))) == (one == other)
