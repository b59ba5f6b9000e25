"""Marks limit costs, duplicates and messages that kill workers: a mark shows the fate of earlier work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consumers.engine.limits import UNPAID_REST_S
from consumers.engine.retry import MAX_ATTEMPTS
from messages.bodies import Clean, Generate, Stage
from messages.codec import decode
from messages.codes import Code
from messages.errors import Transient
from services.errors import ObjectsDown
from tasks.ledger.records import Begun
from telemetry import points
from tests.engine.fault_injector import Died, dies, raises
from tests.engine.harness import Harness
from tests.engine.standins import Plan

LIMITS = {"clean": 60.0, "generate": 150.0, "collect": 180.0}
WAITS = [
    ("clean", True, 0.0),
    ("generate", True, 0.0),
    ("collect", True, 0.0),
    ("clean", False, UNPAID_REST_S),
    ("generate", False, LIMITS["generate"]),
    ("collect", False, UNPAID_REST_S),
]
PLACES = {"clean": "objects.process", "generate": "vendor.upload", "collect": "files.get .*/4"}
CHAINS = {"clean": None, "generate": 1, "collect": None}
"""The slot of the chain of messages that a stage's marks count."""


@pytest.mark.parametrize(("stage", "known", "wait"), WAITS)
async def test_my_own_mark_says_that_a_process_died_and_a_copy_with_one_attempt_more_comes_in_time(
    harness: Harness, stage: str, known: Any, wait: float
) -> None:
    """At once if the holder is known to be dead, soon if nothing is paid, otherwise after the stage's limit."""
    harness.wire.knows_dead_holders = known
    run = await harness.order()
    harness.injector.strike(PLACES[stage], dies())
    delivery, consumer = await harness.until(stage)
    await harness.run(delivery, consumer)
    begun = harness.now()
    again = await harness.step()
    assert again.message_id == delivery.message_id
    (copy,) = [sent for sent in harness.wire.sent if sent.header.stage == stage and sent.header.seq == 1]
    # Most processes die for another reason than this message.
    assert (copy.header.attempt, copy.header.isolated) == (1, False)
    # The store's times are whole seconds.
    assert begun - 1 + wait <= copy.header.due_at <= begun + 1.2 * wait + 0.001
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


@pytest.mark.parametrize("known", [False, True])
async def test_the_last_attempt_is_given_its_whole_limit_where_its_holder_may_live(
    harness: Harness, known: Any
) -> None:
    """The copy after it is a dead letter, and must not overtake results that are on their way."""
    harness.wire.knows_dead_holders = known
    await harness.order()
    harness.injector.strike("objects.process", *[dies()] * MAX_ATTEMPTS)
    await harness.run(*await harness.until("clean", MAX_ATTEMPTS - 1))
    begun = harness.now()
    await harness.drain()
    assert (harness.now() - begun >= LIMITS["clean"] - 1) != known


@pytest.mark.parametrize("stage", LIMITS)
async def test_a_copy_is_isolated_from_the_second_crash_on_and_what_follows_it_is_not(
    harness: Harness, stage: str
) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], dies(), dies())
    await harness.drain()
    await harness.promise(run, "success")
    assert [(sent.header.stage, sent.header.seq) for sent in harness.wire.sent if sent.header.isolated] == [(stage, 2)]


@pytest.mark.parametrize("stage", LIMITS)
async def test_anothers_mark_says_that_another_message_carries_the_run(harness: Harness, stage: str) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until(stage)
    await harness.ledger.write(run, Begun.at(stage, 0, CHAINS[stage]), Begun("another-message", 0, LIMITS[stage]))
    await harness.run(delivery, consumer)
    assert not harness.wire.open
    assert "verdict" not in await harness.records(run)
    assert harness.injector.count(PLACES[stage]) == 0


@pytest.mark.parametrize("stage", LIMITS)
async def test_a_message_that_kills_its_process_is_dead_lettered_after_its_attempts(
    harness: Harness, stage: str
) -> None:
    run = await harness.order()
    harness.injector.strike(PLACES[stage], *[dies()] * 50)
    await harness.drain()
    await harness.promise(run, "failed", Code.INTERNAL)
    assert sum("DIED" in reported for reported in harness.reported) == MAX_ATTEMPTS
    (letter,) = await harness.dead_letters()
    assert (letter["stage"], letter["reason"], letter["error"]) == (stage, "attempts", "ProcessCrashed")
    assert Begun.at(stage, MAX_ATTEMPTS, CHAINS[stage]).text in await harness.records(run)
    assert await harness.staged(run) == []
    assert len(harness.vendor.paid) == (1 if stage == "collect" else 0)


async def test_a_message_over_the_limit_is_dead_lettered_only_after_it_created_its_own_mark(harness: Harness) -> None:
    """Another process may work on the last attempt: it gets its time."""
    run = await harness.order()
    held, consumer = await harness.until("collect")
    await consumer.ack(held)
    await harness.say(run, Stage.CLEAN, Clean(), seq=3, attempt=MAX_ATTEMPTS, kind="model_pose12")
    await harness.ledger.write(run, Begun.at("clean", 3), Begun("another-message", 4, 60.0))
    await harness.drain()
    assert await harness.dead_letters() == []


async def test_the_last_attempt_of_collect_is_not_failed_while_it_runs(harness: Harness) -> None:
    """The broker reconnects and gives the message to a second holder, who finds the mark of the first."""
    run = await harness.order()
    harness.injector.strike("files.get .*/2", *[raises(KeyError("our own mistake"))] * (MAX_ATTEMPTS - 1))
    delivery, consumer = await harness.until("collect", MAX_ATTEMPTS - 1)
    await asyncio.gather(harness.run(delivery, consumer), harness.run(delivery, consumer))
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_marked_poll_that_finds_its_own_mark_goes_on_soon_and_counts(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10))
    run = await harness.order()
    harness.injector.strike("vendor.query", dies())
    delivery, consumer = await harness.until("poll", 0)
    await harness.run(delivery, consumer)
    await harness.drain()
    await harness.promise(run, "success")
    polls = harness.sent("poll")
    assert [(poll.seq, poll.attempt) for poll in polls][:3] == [(0, 0), (1, 1), (2, 1)]
    assert polls[1].not_before <= 1.2 * UNPAID_REST_S * 1000


@pytest.mark.parametrize(("known", "most"), [(False, 15), (True, MAX_ATTEMPTS + 1)])
async def test_a_poll_that_kills_its_process_is_given_up_soon(harness: Harness, known: Any, most: int) -> None:
    """A light look has no mark; one that comes late, or from a holder that died, has, and counts."""
    harness.wire.knows_dead_holders, harness.restart_s = known, 2.0
    harness.vendor.plans.append(Plan(looks=1000))
    await harness.order()
    delivery, consumer = await harness.until("poll", 3)
    harness.injector.strike("vendor.query", *[dies()] * 600)
    await harness.run(delivery, consumer)
    await harness.drain()
    assert sum("DIED" in reported for reported in harness.reported) <= most
    (letter,) = await harness.dead_letters()
    assert (letter["stage"], letter["reason"], letter["error"]) == ("poll", "attempts", "ProcessCrashed")


@pytest.mark.parametrize(("known", "most"), [(False, 30), (True, MAX_ATTEMPTS + 1)])
@pytest.mark.parametrize("number", [0, -1])
async def test_a_wake_that_kills_its_process_is_given_up_soon(
    harness: Harness, known: Any, most: int, number: int
) -> None:
    harness.wire.knows_dead_holders, harness.restart_s = known, 2.0
    run = await harness.order()
    await harness.until("generate")
    harness.injector.strike("ledger.list .*/begun-", *[dies()] * 600)
    await harness.wake(run, number=number)
    await harness.wake(run, number=number)
    while len(await harness.dead_letters()) < 2:
        await harness.step()
    assert sum("DIED" in reported for reported in harness.reported) <= 2 * most
    assert {letter["error"] for letter in await harness.dead_letters()} == {"ProcessCrashed"}


@pytest.mark.parametrize("behind", [1.0, 30.0])
@pytest.mark.parametrize("stage", LIMITS)
async def test_a_message_begun_by_a_clock_that_was_ahead_is_not_lost(
    harness: Harness, stage: str, behind: float
) -> None:
    """It is early by the next worker's clock; published again, it would be rejected because of its own mark."""
    run = await harness.order()
    harness.injector.strike(PLACES[stage], raises(Transient("flicker", retry_after=10.0)), dies())
    await harness.run(*(await harness.until(stage, 1)))
    harness.jump -= behind
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_a_mark_whose_answer_is_lost_is_mine_by_its_nonce(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/begun-", *[raises(ObjectsDown("cut"))] * 4, done=True)
    await harness.drain()
    await harness.promise(run, "success")
    assert [reported.split()[1] for reported in harness.reported] == [
        "clean-0",
        "generate-0",
        "poll-0",
        "poll-1",
        "collect-0",
    ]


async def test_a_mark_that_cannot_be_written_is_an_outage(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("ledger.put_new .*/begun-clean", *[raises(ObjectsDown("away"))] * 7)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("clean")} == {0}


async def test_a_stale_clean_never_displaces_a_generate(harness: Harness) -> None:
    """Marks are named by stage."""
    run = await harness.order()
    held, consumer = await harness.until("generate")
    await harness.say(run, Stage.CLEAN, Clean(), seq=0, kind="model_pose12")
    await harness.step()
    await consumer.release(held)
    await harness.drain()
    await harness.promise(run, "success")
    assert [header.seq for header in harness.sent("generate")] == [0]


async def test_without_any_mark_the_bounds_on_money_and_output_still_hold(harness: Harness) -> None:
    """`One verdict` and `only the winner's output` hold even without marks: each stage runs three times at once."""
    run = await harness.order()
    held = [await harness.until("generate")]
    for seq in (1, 2):
        await harness.say(run, Stage.GENERATE, Generate(), seq=seq, kind="model_pose12")
        held.append(await harness.until("generate"))
    await asyncio.gather(*(harness.run(*one) for one in held))
    delivery, consumer = await harness.until("collect")
    for seq in (1, 2):
        await harness.say(run, Stage.COLLECT, decode(delivery.payload).body, seq=seq, kind="model_pose12")
    more = [await harness.until("collect") for _ in range(2)]
    await asyncio.gather(harness.run(delivery, consumer), *(harness.run(*one) for one in more))
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert len({item.source.rsplit("/", 1)[0] for item in verdict.manifest}) == 1
    assert len({key.rsplit("/", 1)[0] for key in await harness.staged(run) if "frame" in key}) == 3
    assert len(harness.vendor.paid) == 1


# ---- a process that dies at each point -------------------------------------------------------------------------------

UNKNOWN = {"generate.intent", "generate.created"}
"""Here the call's outcome is lost with the process: the run fails, and is refunded."""


def stops_at(point: str, times: int) -> None:
    """Let the process die at a named point of the product."""
    left = times

    def hook(reached: str) -> None:
        nonlocal left
        if reached == point and left:
            left -= 1
            raise Died

    points.install(hook)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("point", points.POINTS)
async def test_a_process_that_dies_at_a_point_leaves_one_verdict_and_whole_output(
    harness: Harness, point: str, times: int
) -> None:
    run = await harness.upload()
    stops_at(point, times)
    for _ in range(times + 1):
        # The platform calls the trigger again when its process has died.
        if await harness.survives(harness.take_in(run)):
            break
    await harness.drain()
    verdict = await harness.verdict(run)
    if point in UNKNOWN:
        await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    else:
        await harness.promise(run, "success")
    assert len(harness.vendor.paid) == (0 if point == "generate.intent" else 1)
    assert len(set(harness.heard(run))) == 1
    assert (await harness.staged(run) == []) is (verdict.status != "success")
    assert len(await harness.dead_letters()) == (point in UNKNOWN)


@pytest.mark.parametrize("delay", [0, 20_000])
async def test_the_second_of_two_crash_copies_starts_no_chain_of_its_own(harness: Harness, delay: int) -> None:
    """A process died between its copy's publish and the original's ack; a copy of the copy would repeat an attempt."""
    run = await harness.order("basic_clean")
    first, consumer = await harness.until("clean")
    await harness.wire.lose(first, consumer)
    await harness.ledger.write(run, Begun.at(Stage.CLEAN, 0), Begun(first.message_id, 0, 60.0))
    body = decode(first.payload).body
    await harness.say(run, Stage.CLEAN, body, seq=1, attempt=1, isolated=True, kind="basic_clean", not_before=delay)
    await harness.ledger.write(run, Begun.at(Stage.CLEAN, 1), Begun("of the first copy", 1, 60.0))
    second, consumer = await harness.until("clean")
    sent = len(harness.wire.sent)
    assert not await harness.engine.throttle(second, consumer, decode(second.payload), 1.0)
    await harness.run(second, consumer)
    assert len(harness.wire.sent) == sent


@pytest.mark.parametrize("seq", [1, 2])
@pytest.mark.parametrize("stage", LIMITS)
async def test_a_killer_dies_no_more_often_where_the_ack_of_a_throttled_copy_is_lost(
    harness: Harness, stage: str, seq: int
) -> None:
    """It is delivered again beside its successor and has no mark; the successor has begun, and carries the run."""
    run = await harness.order()
    harness.injector.strike(PLACES[stage], *[dies()] * 50)
    copy, consumer = await harness.until(stage, seq)
    harness.injector.strike(f"broker.ack {stage}-{seq}", dies())
    assert not await harness.survives(harness.engine.throttle(copy, consumer, decode(copy.payload), 1.0))
    await harness.run(*await harness.until(stage, seq + 1))
    await consumer.lose_holder(copy)
    await harness.drain()
    await harness.promise(run, "failed", Code.INTERNAL)
    assert sum("DIED" in reported for reported in harness.reported) == MAX_ATTEMPTS
