"""An operator's questions after a night of sixty tasks with faults: each answer is compared with the quota account."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from console.cli.operate import display
from console.cli.operate.task import show_task, task_document
from messages.bodies import Stage
from messages.keys import STATUS_PREFIX, RunId, parse_index_key
from messages.topics import topic_of
from services.errors import BackendDown, VendorDown, VendorFull
from services.vendors.port import JobState
from services.vendors.usage import Usage, total
from tasks.ending.cancel import cancel_task
from tasks.ledger.status import GroupStatus, ProcessStatus, write_status
from tasks.lists.backlogs import read_backlogs
from tasks.lists.pages import Condition, Listed, find_tasks, read_current, users_of
from tasks.lists.processes import SILENT_S, is_silent, read_processes
from tasks.lists.states import is_refunded, state_of, why_of, word_of
from tasks.lists.statistics import Statistics, statistics_of
from tasks.topics import TOPICS
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness
from tests.engine.standins import Plan

COINS = Usage(coins=17, seconds=83)


async def found(harness: Harness, limit: int = 1000, **condition: Any) -> Listed:
    return await find_tasks(Condition(**{"since": 0.0, **condition}), limit, harness.ledger)


async def tasks(harness: Harness, **condition: Any) -> set[str]:
    return {view.run.task for view in (await found(harness, **condition)).views}


async def counted(harness: Harness, user: str = "", since: float = 0.0) -> Statistics:
    return await statistics_of(user, since, harness.ledger.now() + 1, harness.ledger.objects)


async def sixty(harness: Harness) -> list[RunId]:
    """Sixty tasks of two users and two kinds: some jobs fail, one task is cancelled, and COS has bad moments."""
    harness.vendor.usage = COINS
    harness.vendor.plans.extend(Plan(end=JobState.FAILED if n % 3 == 0 else JobState.SUCCESS) for n in range(40))
    runs = []
    for n in range(60):
        kind = "basic_clean" if n % 3 == 2 else "model_pose12"
        runs.append(await harness.order(kind, user=f"u{1 + n % 2}"))
    await cancel_task(runs[0], harness.out)
    await harness.wake(runs[0])
    await harness.drain(4000)
    return runs


def account(harness: Harness, runs: list[RunId]) -> dict[str, tuple[str, int, int]]:
    """The backend's account: task -> status, charges, refunds."""
    return {run.task: harness.state(run) for run in runs}


async def test_after_sixty_tasks_every_figure_is_that_of_the_account(harness: Harness) -> None:
    runs = await sixty(harness)
    book = account(harness, runs)
    assert {charges for _, charges, _ in book.values()} == {1}
    refunded = {task for task, (_, _, refunds) in book.items() if refunds}
    assert 10 < len(refunded) < 30
    assert await tasks(harness, refunded=True) == refunded
    assert await tasks(harness, states=("failed", "cancelled")) == refunded
    assert await tasks(harness, states=("success",)) == set(book) - refunded
    assert await tasks(harness, states=("cancelled",)) == {runs[0].task}
    assert await tasks(harness, user="u2") == {run.task for run in runs if run.user == "u2"}
    assert await tasks(harness, kind="basic_clean") == {run.task for n, run in enumerate(runs) if n % 3 == 2}
    assert await tasks(harness, still_since=harness.ledger.now() + 1) == set()
    figures = await counted(harness)
    states: Counter[str] = Counter()
    for one in figures.counts:
        states[one.state] += one.tasks
    assert (figures.total, states["failed"] + states["cancelled"]) == (60, len(refunded))
    assert (await counted(harness, "u1")).total == 30
    # A job that failed has its cost too.
    ended = (await found(harness, states=("success", "failed"))).views
    jobs = Counter(view.accepted.kind for view in ended if view.accepted)
    assert figures.cost == {"coins": f"{17 * jobs['model_pose12']}", "seconds": f"{83 * jobs['model_pose12']}"}


async def test_a_list_is_newest_first_and_says_that_it_stops(harness: Harness) -> None:
    runs = []
    for _ in range(7):
        runs.append(await harness.order())
        await asyncio.sleep(1)
    newest = [run.task for run in reversed(runs)]
    everything = await found(harness)
    assert ([view.run.task for view in everything.views], everything.complete) == (newest, True)
    for user in ("", "u1"):
        first = await found(harness, 3, user=user)
        assert ([view.run.task for view in first.views], first.complete) == (newest[:3], False)
    accepted = everything.views[2].accepted
    assert accepted is not None
    assert len(await tasks(harness, since=accepted.created - 0.001)) == 3
    assert len(await tasks(harness, since=accepted.created - 0.001, user="u1")) == 3


async def test_tasks_of_yesterday_are_in_the_list(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await asyncio.sleep(86400)
    later = await harness.order()
    assert await tasks(harness) == {run.task, later.task}
    assert await tasks(harness, since=harness.ledger.now() - 60) == {later.task}
    assert (await counted(harness, since=harness.ledger.now() - 90000)).total == 1


async def why(harness: Harness, run: RunId) -> str:
    return why_of(await read_current(run, harness.ledger))


async def test_why_a_task_waits(harness: Harness) -> None:
    run = await harness.order()
    assert await why(harness, run) == "queued"
    harness.injector.strike("vendor.create", raises(VendorFull("421")))
    assert await _next_reason(harness, run) == "vendor_full"
    await harness.pass_by("poll")
    assert await why(harness, run) == "vendor_working"
    harness.injector.strike("backend.deliver", raises(BackendDown("503")))
    await harness.pass_by("notify")
    assert await why(harness, run) == "undelivered"
    await harness.drain()
    assert await why(harness, run) == ""


async def test_why_a_task_waits_is_a_word_where_the_record_names_a_class(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("vendor.create", raises(VendorDown("503")))
    assert await _next_reason(harness, run) == "vendor_down"


@pytest.mark.parametrize(
    ("recorded", "word"),
    [("VendorDown", "vendor_down"), ("StageTimeout", "stage_timeout"), ("spend_cap", "spend_cap"), ("", "")],
)
def test_a_recorded_reason_is_a_word(recorded: str, word: str) -> None:
    assert word_of(recorded) == word


async def _next_reason(harness: Harness, run: RunId) -> str:
    for _ in range(20):
        await harness.step()
        if (reason := await why(harness, run)) not in {"queued", ""}:
            return reason
    return ""


async def test_a_task_that_is_still_is_found_and_an_ended_one_is_not(harness: Harness) -> None:
    ended = await harness.order()
    await harness.drain()
    stuck = await harness.order()
    await asyncio.sleep(700)
    assert await tasks(harness, still_since=harness.ledger.now() - 600) == {stuck.task}
    assert await tasks(harness, still_since=harness.ledger.now() - 800) == set()
    assert ended.task not in await tasks(harness, states=("queued", "working"))


async def test_a_task_is_shown_whole(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    harness.vendor.usage = COINS
    run = await harness.order()
    await harness.drain()
    assert await users_of(run.task, harness.ledger) == [run.user]
    assert await users_of("gone", harness.ledger) == []
    view = await read_current(run, harness.ledger)
    document = task_document(view, [0], None, harness.ledger.now())
    json.dumps(document)
    assert (document["state"], document["kind"], document["refunded"]) == ("success", "model_pose12", False)
    assert document["usage"] == {"coins": 17.0, "seconds": 83.0}
    assert [(call["call"], call["state"], call["usage"]) for call in document["calls"]] == [
        ("1-1", "done", "coins=17 seconds=83")
    ]
    assert document["results"] == await harness.outputs(run)
    assert document["callback"]["http_status"] == 200
    assert [entry["record"] for entry in document["timeline"]] == [entry.name for entry in view.timeline]
    assert "https://" not in json.dumps(document["timeline"])
    show_task(view, [0, 1], None, harness.ledger.now())
    printed = capsys.readouterr().out
    for shown in (run.task, "coins=17 seconds=83", "1 paid call", "runs 0, 1", document["callback"]["sent"]):
        assert shown in printed


async def test_a_failed_task_shows_its_reason_and_its_refund(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.vendor.plans.append(Plan(end=JobState.FAILED))
    run = await harness.order()
    await harness.drain()
    view = await read_current(run, harness.ledger)
    assert (state_of(view), is_refunded(view)) == ("failed", True)
    document = task_document(view, [0], None, harness.ledger.now())
    assert document["verdict"]["code"] == "vendor_failed"
    assert document["stopped"][0]["code"] == "vendor_failed"
    show_task(view, [0], None, harness.ledger.now())
    display.show_list(await found(harness), harness.ledger.now())
    printed = capsys.readouterr().out
    assert "refunded  yes" in printed
    assert "vendor_failed" in printed
    (row,) = display.list_document(await found(harness), harness.ledger.now())["tasks"]
    assert (row["task"], row["state"], row["refunded"], row["code"]) == (run.task, "failed", True, "vendor_failed")


async def test_how_far_behind_each_topic_is(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        await harness.order()
    await asyncio.sleep(30)
    backlogs = await read_backlogs(TOPICS, harness.wire)
    assert [one.topic for one in backlogs] == [topic.name for topic in TOPICS]
    (clean,) = [one for one in backlogs if one.topic == topic_of(Stage.CLEAN)]
    assert clean.backlog.depth == 3
    display.show_topics(backlogs, [], 0.0)
    assert f"{len(TOPICS) - 1} empty" in capsys.readouterr().out
    json.dumps(display.topics_document(backlogs, []))


async def test_which_processes_run(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    now = harness.ledger.now()
    runs = ProcessStatus(
        process="consumers-a-1",
        at=now,
        groups=(GroupStatus(("poll",), 8),),
        busy=2,
        ended={"done": 5},
        pauses={"poll": now + 30},
        received=now - 3,
    )
    gone = ProcessStatus(process="consumers-b-1", at=now - 2 * SILENT_S)
    for status in (gone, runs):
        await write_status(status, harness.ledger.objects)
    await harness.ledger.objects.put(f"{STATUS_PREFIX}odd", b"?")
    processes = await read_processes(harness.ledger)
    assert {one.process: is_silent(one, now) for one in processes} == {
        "consumers-a-1": False,
        "consumers-b-1": True,
        "odd": False,
    }
    display.show_workers(processes, [], now)
    printed = capsys.readouterr().out
    assert "2 of 8" in printed
    assert "3 processes" in printed
    (document,) = [one for one in display.workers_document(processes, [], now)["processes"] if one["groups"]]
    assert (document["silent"], document["busy"], document["ended"]) == (False, 2, {"done": 5})


async def test_statistics_are_shown(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    await harness.order()
    await harness.drain()
    figures = await counted(harness)
    display.show_stats(figures)
    printed = capsys.readouterr().out
    assert "ended since" in printed
    assert "cost: none reported" in printed
    assert display.stats_document(figures)["total"] == 1


def test_usages_add_up() -> None:
    assert total([COINS, COINS, Usage(tokens_in=3)]) == Usage(coins=34, seconds=166, tokens_in=3)
    assert total([]) == Usage()


def test_a_key_that_is_no_entry_is_none() -> None:
    for key in ("index/task/t1/u1", "index/user/u1/x/t1", "index/day/2026-01-01/1234567890123/u1", "status/x"):
        assert parse_index_key(key) is None
