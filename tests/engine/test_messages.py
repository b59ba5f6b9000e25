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
from tasks.ledger.records import Begun, Verdict
from tasks.topics import WORK_TOPICS
from tests.engine.fault_injector import calls, raises, waits
from tests.engine.harness import Harness
from tests.engine.standins import Plan
from tests.engine.virtual import wall
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
async def test_what_no_reader_knows_is_a_desk_record_and_no_verdict(harness: Harness, payload: bytes) -> None:
    run = await harness.order()
    held, consumer = await harness.until("clean")
    await harness.wire.publish("clean-normal", payload)
    await harness.step()
    await harness.step()
    (letter,) = await harness.dead_letters()
    assert (letter["reason"], letter["verdict"]) == ("unreadable", "leave")
    assert harness.heard(run) == []
    await consumer.release(held)
    await harness.drain()
    await harness.promise(run, "success")


async def test_an_unreadable_dead_letter_is_recorded_and_ends(harness: Harness) -> None:
    await harness.wire.publish(dead_letter_topic("poll"), b"not a letter")
    await harness.drain()
    assert [letter["reason"] for letter in await harness.dead_letters()] == ["unreadable"]


@pytest.mark.parametrize("topic", WORK_TOPICS)
async def test_every_topic_has_a_desk(harness: Harness, topic: str) -> None:
    await harness.wire.publish(topic, b"nobody reads this")
    await harness.drain()
    assert [letter["topic"] for letter in await harness.dead_letters()] == [topic]


async def test_the_desk_keeps_the_original_bytes_as_far_as_they_fit(harness: Harness) -> None:
    await harness.wire.publish("poll", b'["a message of somebody else"]')
    await harness.drain()
    (letter,) = await harness.dead_letters()
    assert (letter["original"], letter["encoding"]) == ('["a message of somebody else"]', "text")


@pytest.mark.parametrize("stage", ["clean", "generate", "poll", "collect"])
@pytest.mark.parametrize("stored", [False, True], ids=["not stored", "stored"])
async def test_a_publish_that_fails_is_tried_again_by_the_living_process(
    harness: Harness, stage: str, *, stored: bool
) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    harness.injector.strike("broker.publish", *[raises(BrokerDown("away"))] * 5, done=stored)
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "success")
    assert {sent.header.attempt for sent in harness.wire.sent} == {0}
    assert len(harness.vendor.paid) == 1
    assert harness.heard(run) == ["success"]


async def test_the_original_is_acked_only_after_the_receipt_of_what_follows(harness: Harness) -> None:
    await harness.order()
    await harness.drain()
    order = [place for place in harness.injector.seen if place.startswith("broker.")]
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
    harness: Harness, stage: str, place: str
) -> None:
    """A begun message is never given back: a copy with the same attempt, then the ack."""
    run = await harness.order()
    if stage == "notify":
        harness.injector.strike("backend.deliver", raises(BrokerDown("away")))
    if stage == "dead":
        harness.vendor.plans.append(Plan(files=11))
    if stage == "wake":
        await harness.pass_by("poll")
        await harness.wake(run, "webhook")
    delivery, consumer = await harness.until(stage)
    harness.injector.strike(place, waits(10_000))
    working = asyncio.create_task(harness.engine.run_one(delivery, consumer))
    await asyncio.sleep(5)
    assert not working.done()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert delivery.message_id not in harness.wire.open
    copies = [sent for sent in harness.wire.open.values() if sent.header.stage == stage]
    assert [(copy.header.attempt, copy.header.isolated) for copy in copies] == [(0, False)]
    assert copies[0].header.seq == decode(delivery.payload).header.seq + 1
    await harness.drain()
    if stage == "dead":
        await harness.promise(run, "failed", Code.INCOMPLETE_RESULTS)
    else:
        await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


@pytest.mark.parametrize(("slow", "code"), [(20, ""), (10_000, Code.VENDOR_UNKNOWN)], ids=["answered", "unanswered"])
async def test_a_paid_call_is_never_cut_off_half_way(harness: Harness, slow: float, code: str) -> None:
    """A worker that stops waits for the answer, which has a limit of its own; without an answer the call is never sent
    again."""
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    harness.injector.strike("vendor.create", waits(slow), done=True)
    working = asyncio.create_task(harness.engine.run_one(delivery, consumer))
    await asyncio.sleep(5)
    for _ in range(2):
        working.cancel()
        await asyncio.sleep(1)
    await working
    assert ("call-1-1-id" in await harness.records(run)) is not code
    await harness.drain()
    await harness.promise(run, "failed" if code else "success", code)
    assert len(harness.vendor.paid) == 1
    assert {header.attempt for header in harness.sent("generate")} == {0}


async def test_an_id_that_the_ledger_cannot_take_outlives_a_cancel(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    harness.injector.strike("vendor.create", waits(20), done=True)
    harness.injector.strike("ledger.put_new .*/call-1-1-id", *[raises(ObjectsDown("away"))] * 30)
    working = asyncio.create_task(harness.engine.run_one(delivery, consumer))
    await asyncio.sleep(5)
    working.cancel()
    await working
    assert "call-1-1-id" not in await harness.records(run)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_a_delivery_that_comes_early_waits_for_its_time(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("clean")
    await harness.run(delivery, consumer)
    await harness.run(*(await harness.until("generate")))
    (poll,) = harness.sent("poll")
    late = next(sent for sent in harness.wire.open.values() if sent.header.stage == "poll")
    await harness.wire.publish(late.topic, late.payload)
    before = harness.injector.count("vendor.query")
    await harness.step()
    assert harness.injector.count("vendor.query") == before
    assert harness.now() < poll.due_at
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.jobs["job1"].looks <= 4


async def test_an_early_message_goes_on_though_another_process_begins_it_meanwhile_and_dies(harness: Harness) -> None:
    """This process froze until the message was due for others; an unchanged copy would meet the mark of one that
    died."""
    run = await harness.order("basic_clean")
    first, consumer = await harness.until("clean")
    await harness.wire.lose(first, consumer)
    await harness.say(run, Stage.CLEAN, decode(first.payload).body, seq=1, kind="basic_clean", not_before=20_000)
    early, consumer = await harness.until("clean")

    async def begin() -> None:
        await harness.ledger.write(run, Begun.at(Stage.CLEAN, 1), Begun(early.message_id, 0, 60.0))

    harness.injector.strike("broker.publish clean", calls(begin))
    await harness.run(early, consumer)
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_machine_whose_clock_is_behind_asks_the_store_before_it_calls_a_message_early(harness: Harness) -> None:
    """Light messages do not read the ledger, so they would not show it the time."""
    run = await harness.order("basic_clean")
    lost, consumer = await harness.until("clean")
    await consumer.ack(lost)
    await harness.wake(run, "cancel")
    behind = Ledger(harness.ledger.objects, clock=lambda: harness.now() - 300, nonce=harness.ledger.nonce)
    harness.out = dataclasses.replace(harness.out, ledger=behind)
    harness.engine = harness.new_engine()
    began = harness.now()
    await harness.drain()
    assert harness.now() - began < 30
    await harness.promise(run, "success")


async def test_a_message_without_a_delay_is_due_on_arrival_however_far_its_publishers_clock_is_ahead(
    harness: Harness,
) -> None:
    """A webhook function sends no request to the store, so it knows only its own clock."""
    run = await harness.order()
    poll, consumer = await harness.until("poll")
    await harness.wire.lose(poll, consumer)
    harness.jump = 600
    await harness.wake(run, "webhook")
    harness.jump = 0
    published = wall()
    await harness.step()
    assert harness.injector.count("vendor.query") == 1
    assert wall() - published < 5


async def test_a_machine_whose_delays_end_in_the_brokers_past_does_not_spin(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock is behind: what it publishes for later is delivered at once."""
    run = await harness.order()
    poll, consumer = await harness.until("poll")
    await harness.wire.lose(poll, consumer)

    async def at_once(topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        return await harness.wire.slip_in(topic, payload)

    due = harness.now() + 20
    await harness.say(run, Stage.POLL, decode(poll.payload).body, seq=1, kind="model_pose12", not_before=20_000)
    before = len(harness.wire.sent)
    with monkeypatch.context() as patched:
        patched.setattr(harness.wire, "publish", at_once)
        while harness.injector.count("vendor.query") == 0:
            await harness.step()
            assert len(harness.wire.sent) - before <= 30
    assert due <= harness.now() <= due + 1
    await harness.drain()
    await harness.promise(run, "success")


async def test_light_polls_read_nothing_and_write_nothing(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=20))
    await harness.order()
    delivery, consumer = await harness.until("poll", 3)
    before = harness.injector.count("^(ledger|objects)")
    await harness.run(delivery, consumer)
    assert harness.injector.count("^(ledger|objects)") == before


async def test_a_verdict_is_read_before_the_mark(harness: Harness) -> None:
    run = await harness.order()
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.drain()
    assert [name for name in await harness.records(run) if name.startswith("begun")] == ["begun-notify-0"]


async def test_messages_stay_small(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10))
    harness.injector.strike("backend.deliver", *[raises(BrokerDown("away"))] * 5)
    await harness.order()
    await harness.drain()
    sizes = {sent.header.stage: len(sent.payload) for sent in harness.wire.sent}
    assert sizes["generate"] < 200
    assert max(sizes.values()) < 300


async def test_a_notify_without_a_verdict_does_nothing(harness: Harness) -> None:
    run = await harness.order()
    await harness.until("clean")
    await harness.say(run, Stage.NOTIFY, Notify(0))
    await harness.step()
    assert harness.heard(run) == []
    assert "verdict" not in await harness.records(run)
