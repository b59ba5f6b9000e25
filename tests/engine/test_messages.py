"""From delivery to ack: what the engine does with a message, whatever its stage."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from messages.bodies import Notify, Stage
from messages.codec import MAX_MESSAGE_BYTES, decode
from messages.codes import Code
from messages.topics import dead_letter_topic
from services.errors import ObjectsDown
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Verdict
from tasks.topics import WORK_TOPICS
from tests.engine.fate import raises, waits
from tests.engine.standins import Plan
from tests.engine.virtual import wall
from tests.engine.world import World
from transport.errors import BrokerDown

HOSTILE = (
    b"",
    b"\xff\xfe\x00",
    b"{}",
    b"[[],[]]",
    b"null",
    b'["a message of somebody else"]',
    b"[" * 4000,
    bytes(MAX_MESSAGE_BYTES),
    "世界".encode() * 900,
    b'[[1,"embroider","u1","t1",0,0,0,0,1750000000000],[]]',
    b'[[9,"clean","u1","t1",0,0,0,0,1750000000000],[]]',
    b'[[1,"collect","u1","t1",0,0,0,0,1750000000000],["no job"]]',
)


@pytest.mark.parametrize("payload", HOSTILE)
async def test_what_no_reader_knows_is_a_desk_record_and_no_verdict(world: World, payload: bytes) -> None:
    run = await world.order()
    held, consumer = await world.until("clean")
    await world.wire.publish("clean-normal", payload)
    await world.step()
    await world.step()
    (letter,) = await world.desk()
    assert (letter["reason"], letter["verdict"]) == ("unreadable", "leave")
    assert world.heard(run) == []
    await consumer.release(held)
    await world.drain()
    await world.promise(run, "success")


async def test_an_unreadable_dead_letter_is_recorded_and_ends(world: World) -> None:
    await world.wire.publish(dead_letter_topic("poll"), b"not a letter")
    await world.drain()
    assert [letter["reason"] for letter in await world.desk()] == ["unreadable"]


@pytest.mark.parametrize("topic", WORK_TOPICS)
async def test_every_topic_has_a_desk(world: World, topic: str) -> None:
    await world.wire.publish(topic, b"nobody reads this")
    await world.drain()
    assert [letter["topic"] for letter in await world.desk()] == [topic]


async def test_the_desk_keeps_the_original_bytes_as_far_as_they_fit(world: World) -> None:
    await world.wire.publish("poll", b'["a message of somebody else"]')
    await world.drain()
    (letter,) = await world.desk()
    assert (letter["original"], letter["encoding"]) == ('["a message of somebody else"]', "text")


@pytest.mark.parametrize("stage", ["clean", "generate", "poll", "collect"])
@pytest.mark.parametrize("stored", [False, True], ids=["not stored", "stored"])
async def test_a_publish_that_fails_is_tried_again_by_the_living_process(
    world: World, stage: str, *, stored: bool
) -> None:
    run = await world.order()
    delivery, consumer = await world.until(stage)
    world.fate.strike("broker.publish", *[raises(BrokerDown("away"))] * 5, done=stored)
    await world.run(delivery, consumer)
    await world.drain()
    await world.promise(run, "success")
    assert {sent.header.attempt for sent in world.wire.sent} == {0}
    assert len(world.vendor.paid) == 1
    assert world.heard(run) == ["success"]


async def test_the_original_is_acked_only_after_the_receipt_of_what_follows(world: World) -> None:
    await world.order()
    await world.drain()
    order = [place for place in world.fate.seen if place.startswith("broker.")]
    for stage, follower in (("clean-0", "generate-0"), ("generate-0", "poll-0"), ("poll-0", "poll-1")):
        assert order.index(f"broker.publish {follower}") < order.index(f"broker.ack {stage}")


@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ("clean", "objects.process"),
        ("generate", "vendor.upload"),
        ("poll", "vendor.query"),
        ("collect", "files.get .*/7"),
        ("collect", "objects.copy .*frame_07"),
        ("collect", "backend.deliver"),
        ("notify", "backend.deliver"),
        ("dead", "ledger.put_new dead/"),
        ("wake", "vendor.query"),
    ],
)
async def test_what_is_cut_off_at_the_end_of_a_drain_goes_on_with_the_same_attempt(
    world: World, stage: str, place: str
) -> None:
    """A begun message is never given back: a copy with the same attempt, then the ack."""
    run = await world.order()
    if stage == "notify":
        world.fate.strike("backend.deliver", raises(BrokerDown("away")))
    if stage == "dead":
        world.vendor.plans.append(Plan(files=11))
    if stage == "wake":
        await world.pass_by("poll")
        await world.wake(run, "webhook")
    delivery, consumer = await world.until(stage)
    world.fate.strike(place, waits(10_000))
    working = asyncio.create_task(world.engine.run_one(delivery, consumer))
    await asyncio.sleep(5)
    assert not working.done()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert delivery.message_id not in world.wire.open
    copies = [sent for sent in world.wire.open.values() if sent.header.stage == stage]
    assert [(copy.header.attempt, copy.header.isolated) for copy in copies] == [(0, False)]
    assert copies[0].header.seq == decode(delivery.payload).header.seq + 1
    await world.drain()
    if stage == "dead":
        await world.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    else:
        await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


@pytest.mark.parametrize(("slow", "code"), [(20, ""), (10_000, Code.VENDOR_UNKNOWN)], ids=["answered", "unanswered"])
async def test_a_paid_call_is_never_cut_off_half_way(world: World, slow: float, code: str) -> None:
    """Whoever stops waits for its answer, which has a limit of its own; unanswered it is never sent again."""
    run = await world.order()
    delivery, consumer = await world.until("generate")
    world.fate.strike("vendor.create", waits(slow), done=True)
    working = asyncio.create_task(world.engine.run_one(delivery, consumer))
    await asyncio.sleep(5)
    for _ in range(2):
        working.cancel()
        await asyncio.sleep(1)
    await working
    assert ("call-1-1-id" in await world.records(run)) is not code
    await world.drain()
    await world.promise(run, "failed" if code else "success", code)
    assert len(world.vendor.paid) == 1
    assert {header.attempt for header in world.sent("generate")} == {0}


async def test_an_id_that_the_ledger_cannot_take_outlives_a_cancel(world: World) -> None:
    run = await world.order()
    delivery, consumer = await world.until("generate")
    world.fate.strike("vendor.create", waits(20), done=True)
    world.fate.strike("ledger.put_new .*/call-1-1-id", *[raises(ObjectsDown("away"))] * 30)
    working = asyncio.create_task(world.engine.run_one(delivery, consumer))
    await asyncio.sleep(5)
    working.cancel()
    await working
    assert "call-1-1-id" not in await world.records(run)
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_a_delivery_that_comes_early_waits_for_its_time(world: World) -> None:
    run = await world.order()
    delivery, consumer = await world.until("clean")
    await world.run(delivery, consumer)
    await world.run(*(await world.until("generate")))
    (poll,) = world.sent("poll")
    late = next(sent for sent in world.wire.open.values() if sent.header.stage == "poll")
    await world.wire.publish(late.topic, late.payload)
    before = world.fate.count("vendor.query")
    await world.step()
    assert world.fate.count("vendor.query") == before
    assert world.now() < poll.due_at
    await world.drain()
    await world.promise(run, "success")
    assert world.vendor.jobs["job1"].looks <= 4


async def test_a_machine_whose_clock_is_behind_asks_the_store_before_it_calls_a_message_early(world: World) -> None:
    """Light messages read no ledger, and would tell it nothing of the time."""
    run = await world.order("basic_clean")
    lost, consumer = await world.until("clean")
    await consumer.ack(lost)
    await world.wake(run, "cancel")
    behind = Ledger(world.ledger.objects, clock=lambda: world.now() - 300, nonce=world.ledger.nonce)
    world.out = dataclasses.replace(world.out, ledger=behind)
    world.engine = world.new_engine()
    began = world.now()
    await world.drain()
    assert world.now() - began < 30
    await world.promise(run, "success")


async def test_a_message_without_a_delay_is_due_on_arrival_however_far_its_publishers_clock_is_ahead(
    world: World,
) -> None:
    """A webhook function asks the store nothing, so its clock is its only one."""
    run = await world.order()
    poll, consumer = await world.until("poll")
    await world.wire.lose(poll, consumer)
    world.jump = 600
    await world.wake(run, "webhook")
    world.jump = 0
    published = wall()
    await world.step()
    assert world.fate.count("vendor.query") == 1
    assert wall() - published < 5


async def test_a_machine_whose_delays_end_in_the_brokers_past_does_not_spin(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock is behind: what it publishes for later is delivered at once."""
    run = await world.order()
    poll, consumer = await world.until("poll")
    await world.wire.lose(poll, consumer)

    async def at_once(topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        return await world.wire.slip_in(topic, payload)

    due = world.now() + 20
    await world.say(run, Stage.POLL, decode(poll.payload).body, seq=1, kind="model_pose12", not_before=20_000)
    before = len(world.wire.sent)
    with monkeypatch.context() as patched:
        patched.setattr(world.wire, "publish", at_once)
        while world.fate.count("vendor.query") == 0:
            await world.step()
            assert len(world.wire.sent) - before <= 30
    assert due <= world.now() <= due + 1
    await world.drain()
    await world.promise(run, "success")


async def test_light_polls_read_nothing_and_write_nothing(world: World) -> None:
    world.vendor.plans.append(Plan(looks=20))
    await world.order()
    delivery, consumer = await world.until("poll", 3)
    before = world.fate.count("^(ledger|objects)")
    await world.run(delivery, consumer)
    assert world.fate.count("^(ledger|objects)") == before


async def test_a_verdict_is_read_before_the_mark(world: World) -> None:
    run = await world.order()
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.drain()
    assert not [name for name in await world.records(run) if name.startswith("begun")]


async def test_messages_stay_small(world: World) -> None:
    world.vendor.plans.append(Plan(looks=10))
    world.fate.strike("backend.deliver", *[raises(BrokerDown("away"))] * 5)
    await world.order()
    await world.drain()
    sizes = {sent.header.stage: len(sent.payload) for sent in world.wire.sent}
    assert sizes["generate"] < 200
    assert max(sizes.values()) < 300


async def test_a_notify_without_a_verdict_does_nothing(world: World) -> None:
    run = await world.order()
    await world.until("clean")
    await world.say(run, Stage.NOTIFY, Notify(0))
    await world.step()
    assert world.heard(run) == []
    assert "verdict" not in await world.records(run)
