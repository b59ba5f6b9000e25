"""A vendor or a kind that an operator has paused: its tasks wait, nothing is paid, and deadlines hold."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest

from console.cli.operate import display, pauses
from console.cli.operate.task import show_task, task_document
from messages.bodies import Generate, Stage
from messages.codes import Code
from messages.keys import RunId, change_key
from producer.api.progress import waiting_of
from services.errors import ObjectsDown
from tasks.control.pauses import Target
from tasks.control.reader import READ_EVERY_S, PauseReader
from tasks.control.store import begin_pause, end_pause, list_changes, list_pauses
from tasks.lists.pages import read_current
from tasks.wakes import SWEEP
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness
from tests.engine.test_drain import drained
from tests.engine.test_prompt import PAID, opened
from tests.engine.test_push import pushed, taken

VENDOR = Target("vendor", "runninghub")
KIND = Target("kind", "model_pose12")
LOOKS = 12
"""Number of deliveries after which a run without a pause has been paid for."""


def watch(harness: Harness) -> None:
    """Restart as a process that reads the pauses."""
    harness.out = dataclasses.replace(harness.out, pauses=PauseReader(READ_EVERY_S))
    harness.engine = harness.new_engine()


async def begin(harness: Harness, target: Target = VENDOR) -> None:
    await begin_pause(target, "maria", "the bill", harness.ledger)
    watch(harness)


async def end(harness: Harness, target: Target = VENDOR) -> None:
    assert await end_pause(target, "paul", "paid", harness.ledger)


async def look(harness: Harness, times: int = LOOKS) -> None:
    for _ in range(times):
        await harness.step()


async def marks(harness: Harness, run: RunId) -> list[str]:
    return [name for name in await harness.records(run) if name.startswith("begun-")]


async def test_tasks_of_a_paused_vendor_wait_and_go_on_after_it(harness: Harness) -> None:
    await begin(harness)
    run = await harness.order()
    await look(harness)
    assert harness.vendor.paid == []
    records = await harness.records(run)
    assert "cleaned" in records
    assert {record["why"] for name, record in records.items() if name.startswith("waits-")} == {"paused"}
    # No attempt, and no mark: a pause of a night leaves no trail of records.
    assert await marks(harness, run) == ["begun-clean-0"]
    assert {header.attempt for header in harness.sent("generate")} == {0}
    await end(harness)
    await harness.drain()
    await harness.promise(run, "success")


async def test_tasks_of_a_paused_kind_wait_before_they_are_cleaned(harness: Harness) -> None:
    await begin(harness, KIND)
    held, other = await harness.order(), await harness.order("basic_clean")
    await look(harness)
    assert await marks(harness, held) == []
    await harness.promise(other, "success")
    await end(harness, KIND)
    await harness.drain()
    await harness.promise(held, "success")


async def test_a_task_that_is_paused_beyond_its_deadline_is_refunded(harness: Harness) -> None:
    await begin(harness)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert harness.vendor.paid == []


async def test_jobs_that_are_paid_are_polled_and_collected(harness: Harness) -> None:
    watch(harness)
    run = await harness.order()
    await harness.pass_by("poll")
    await begin(harness)
    await begin(harness, KIND)
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_call_whose_answer_was_lost_is_looked_after(harness: Harness) -> None:
    watch(harness)
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert harness.vendor.paid == ["job1"]
    await begin(harness)
    await harness.say(run, Stage.GENERATE, Generate(1), seq=5)
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.paid == ["job1"]


async def test_a_sweep_adds_no_messages_to_a_run_that_is_held_up(harness: Harness) -> None:
    await begin(harness)
    run = await harness.order()
    await look(harness)
    for _ in range(3):
        await harness.wake(run, SWEEP)
    await look(harness, 6)
    assert sum(sent.header.stage == "generate" for sent in harness.wire.open.values()) == 1
    await end(harness)
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_message_that_was_lost_in_a_pause_is_replaced_by_the_sweep_after_it(harness: Harness) -> None:
    await begin(harness)
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await consumer.ack(delivery)
    await harness.wake(run, SWEEP)
    await harness.drain()
    assert harness.vendor.paid == []
    await end(harness)
    await asyncio.sleep(READ_EVERY_S)
    await harness.wake(run, SWEEP)
    await harness.drain()
    await harness.promise(run, "success")


async def test_an_outage_of_the_store_leaves_the_last_state_in_force(harness: Harness) -> None:
    await begin(harness)
    run = await harness.order()
    await look(harness)
    await end(harness)
    harness.injector.strike("ledger.list control/paused/", *[raises(ObjectsDown("503"))] * 3)
    await look(harness, 1)
    await asyncio.sleep(READ_EVERY_S)
    await look(harness, 1)
    assert harness.vendor.paid == []
    await harness.drain()
    await harness.promise(run, "success")


async def test_one_read_serves_all_messages_for_a_while(harness: Harness) -> None:
    watch(harness)
    begun = harness.injector.count("ledger.list control/paused/")
    await asyncio.gather(*(harness.out.pauses.current(harness.ledger) for _ in range(50)))
    assert harness.injector.count("ledger.list control/paused/") == begun + 1
    await asyncio.sleep(READ_EVERY_S)
    await harness.out.pauses.current(harness.ledger)
    assert harness.injector.count("ledger.list control/paused/") == begun + 2


async def test_a_paused_chat_model_is_waited_for_with_patience() -> None:
    async with opened(PAID) as harness:
        await begin(harness, Target("vendor", harness.chat.name))
        run = await harness.order()
        await harness.drain()
        verdict = await harness.promise(run, "success")
        assert verdict.degraded == ("prompt_template",)
        records = await harness.records(run)
        assert {record["why"] for name, record in records.items() if name.startswith("waits-prompt")} == {"paused"}
        assert harness.injector.count("chat.ask") == 0


async def test_a_drain_puts_back_what_is_held_up() -> None:
    async with Harness(topics=()) as harness:
        await begin(harness)
        run = await harness.order()
        found = await drained(harness)
        assert (found.ended, harness.vendor.paid) == ("empty", [])
        await end(harness)
        watch(harness)
        while harness.wire.open:
            await drained(harness)
            await asyncio.sleep(5)
        await harness.promise(run, "success")


async def test_a_push_puts_back_what_is_held_up() -> None:
    async with Harness(topics=()) as harness:
        await begin(harness, KIND)
        await harness.order()
        events = await taken(harness, "clean-normal", 1)
        found = await pushed(harness, events)
        assert (found.records, found.done) == (1, 1)
        (left,) = harness.wire.open.values()
        assert (left.header.stage, left.header.seq, left.header.attempt) == ("clean", 1, 0)
        assert left.delay >= 5


async def test_of_two_operators_the_second_sees_the_pause_of_the_first(harness: Harness) -> None:
    first, created = await begin_pause(VENDOR, "maria", "the bill", harness.ledger)
    again, second = await begin_pause(VENDOR, "paul", "", harness.ledger)
    assert (created, second, again) == (True, False, first)
    assert await list_pauses(harness.ledger) == [first]
    assert await end_pause(VENDOR, "paul", "paid", harness.ledger) == first
    assert await end_pause(VENDOR, "paul", "", harness.ledger) is None
    changes = [(one.action, one.by, one.why) for one in await list_changes(harness.ledger, 20)]
    assert sorted(changes) == [("pause", "maria", "the bill"), ("resume", "paul", "paid")]


async def test_a_pause_that_cannot_be_read_is_shown_and_ended(harness: Harness) -> None:
    await harness.ledger.objects.put_new(VENDOR.key, b"{", content_type="application/json")
    await harness.ledger.objects.put_new(change_key(1.0, "n"), b"\xff", content_type="application/json")
    (pause,) = await list_pauses(harness.ledger)
    assert (pause.target, pause.why) == (VENDOR, "(cannot be read by this build)")
    assert await end_pause(VENDOR, "paul", "", harness.ledger) == pause
    assert await list_pauses(harness.ledger) == []
    assert [one.action for one in await list_changes(harness.ledger, 20)] == ["resume"]


async def test_why_it_waits_is_shown(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    await begin(harness, KIND)
    run = await harness.order()
    await look(harness, 2)
    view, now = await read_current(run, harness.ledger), harness.ledger.now()
    waiting = waiting_of(view)
    assert waiting is not None
    assert waiting.why == "paused"
    (pause,) = await list_pauses(harness.ledger)
    document = task_document(view, [0], pause, now)
    assert (document["why"], document["paused"]["by"], document["paused"]["why"]) == ("paused", "maria", "the bill")
    show_task(view, [0], pause, now)
    display.show_topics([], [pause], now)
    display.show_workers([], [pause], now)
    pauses.show_changes([pause], await list_changes(harness.ledger, 20), now)
    printed = capsys.readouterr().out
    assert printed.count("kind model_pose12 for") == 4
    assert printed.count("by maria: the bill") == 4
    json.dumps([display.topics_document([], [pause]), display.workers_document([], [pause], now)])
    json.dumps(pauses.changes_document([pause], []))
