"""The backend may hold the contrary verdict: then nothing is visible, whichever process dies or fails on the way."""

from __future__ import annotations

import asyncio

import pytest

from messages.bodies import Notify, Stage
from messages.codes import Code
from messages.keys import RunId
from services.backend import StepState
from services.errors import BackendDown, ObjectsDown, VendorDown
from tasks.ending.finish import LEFT_TO_WRITER_S
from tasks.ledger.records import Accepted, Reopened, Verdict
from tasks.wakes import REDELIVER
from tests.engine.fault_injector import Act, calls, dies, passes, raises
from tests.engine.harness import Harness
from tests.engine.standins import Plan

TROUBLES = {"error": raises(ObjectsDown("away")), "kill": dies()}


async def backend_cancels(harness: Harness, run: RunId) -> None:
    """It refunds by itself."""
    harness.backend.book.cancel(run.task)


def blind(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend without the question for its state."""

    async def state(_task: str, _step: int) -> None:
        return None

    monkeypatch.setattr(harness.backend, "state", state)


async def settle(harness: Harness, run: RunId) -> None:
    """Clear all faults."""
    harness.injector.clear()
    await harness.drain()
    assert await harness.outputs(run) == []
    assert harness.state(run) == ("cancelled", 1, 1)
    assert (await harness.records(run))["delivered"]["contrary"]


async def test_copies_of_a_slower_finisher_land_after_the_withdrawal_and_are_withdrawn(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two finishers of one success: the slow one copies, and dies, after the fast one has withdrawn."""
    blind(harness, monkeypatch)
    run = await harness.order()
    delivery, consumer = await harness.until("collect")
    await backend_cancels(harness, run)

    async def fast() -> None:
        await harness.say(run, Stage.NOTIFY, Notify(0), seq=3)
        other = harness.new_engine()
        await other.run_one(*await harness.take())
        assert (await harness.records(run))["delivered"]["contrary"]

    harness.injector.strike("^objects.copy", calls(fast))
    harness.injector.strike("^backend.deliver", passes(), dies())
    await harness.run(delivery, consumer)
    assert await harness.outputs(run) != []
    await settle(harness, run)


@pytest.mark.parametrize("through", ["collect", "notify"])
@pytest.mark.parametrize("asked", [False, True])
async def test_a_withdrawal_is_made_sure_of_once_more_though_no_other_message_comes(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, through: str, *, asked: bool
) -> None:
    """A slower process copies, and dies with its message lost, minutes after the withdrawal."""
    if not asked:
        blind(harness, monkeypatch)
    run = await harness.order()
    delivery, consumer = await harness.until("collect")
    await backend_cancels(harness, run)
    if through == "notify":
        harness.injector.strike("^backend.deliver", raises(BackendDown("503")))
    await harness.run(delivery, consumer)
    if through == "notify":
        await harness.run(*await harness.until("notify"))
    assert (await harness.records(run))["delivered"]["contrary"]
    await asyncio.sleep(500)
    await harness.data.put((await harness.verdict(run)).manifest[0].target, b"\xff\xd8\xff late")
    await settle(harness, run)


async def test_a_wake_never_finishes_a_run_itself(harness: Harness) -> None:
    run = await harness.order()
    delivery, _ = await harness.until("clean")
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.wake(run)
    await harness.step()
    assert harness.heard(run) == []
    (note,) = harness.sent("notify")
    assert (note.seq, note.attempt, note.not_before) == (0, 0, 0)
    assert delivery


@pytest.mark.parametrize(
    ("why", "most"),
    [("cancel", 10.0), ("sweep", 10.0), ("webhook", 10.0 + 1.2 * LEFT_TO_WRITER_S)],
)
async def test_one_503_on_a_callback_that_a_wake_began_delays_the_refund_by_seconds(
    harness: Harness, why: str, most: float
) -> None:
    harness.vendor.plans.append(Plan(looks=10**6))
    run = await harness.order()
    lost, consumer = await harness.until("poll")
    await harness.wire.lose(lost, consumer)
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    harness.injector.strike("backend.deliver", raises(BackendDown("503")))
    before = harness.now()
    await harness.wake(run, why)
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert harness.now() - before < most


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("place", ["^objects.delete output", "ledger.put_new .*/delivered"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_a_withdrawal_that_breaks_off_is_brought_to_its_end(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, place: str, trouble: str, *, done: bool
) -> None:
    blind(harness, monkeypatch)
    run = await harness.order()
    await harness.pass_by("collect")
    await backend_cancels(harness, run)
    act: Act = TROUBLES[trouble]
    harness.injector.strike(place, act, act, done=done)
    await harness.drain()
    assert harness.injector.left < 2
    await settle(harness, run)


@pytest.mark.parametrize("why", ["sweep", "cancel", REDELIVER])
async def test_whatever_meets_a_contrary_acknowledgement_makes_sure_that_nothing_is_visible(
    harness: Harness, why: str
) -> None:
    run = await harness.order()
    await harness.pass_by("collect")
    await backend_cancels(harness, run)
    await harness.drain()
    verdict = await harness.verdict(run)
    # The copy of a process that froze for hours.
    await harness.data.put(verdict.manifest[0].target, b"\xff\xd8\xff late")
    await harness.wake(run, why)
    await settle(harness, run)
    assert harness.heard(run) == ["success"]


async def test_a_backend_that_plainly_says_the_contrary_never_sees_results_shown(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("collect")
    await backend_cancels(harness, run)
    await harness.drain()
    assert harness.injector.count("^backend.state") == 1
    assert harness.injector.count("^objects.copy output") == 0
    await settle(harness, run)


async def test_results_are_shown_where_the_backend_does_not_say_its_state(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("^backend.state", raises(BackendDown("404")))
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_backend_that_said_the_contrary_and_takes_the_success_gets_its_results(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await harness.order()

    async def contrary(_task: str, _step: int) -> StepState:
        return StepState("failed", run.user)

    monkeypatch.setattr(harness.backend, "state", contrary)
    harness.injector.strike("^objects.copy", passes(), dies())
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_task_of_another_user_is_neither_shown_nor_called_back(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await harness.order()

    async def other(_task: str, _step: int) -> StepState:
        return StepState("", "somebody else")

    monkeypatch.setattr(harness.backend, "state", other)
    await harness.drain()
    assert await harness.outputs(run) == []
    assert harness.heard(run) == []
    assert [(letter["stage"], letter["verdict"]) for letter in await harness.dead_letters()] == [("notify", "leave")]


async def test_a_withdrawal_spares_the_results_of_a_later_run(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("collect")
    await backend_cancels(harness, run)
    await harness.drain()
    accepted = await harness.ledger.accepted(run)
    assert accepted is not None
    again = RunId(run.user, run.task, run.step, 1)
    await harness.ledger.write(again, Accepted.at(), accepted)
    await harness.ledger.write(again, Reopened.at(), Reopened())
    target = (await harness.verdict(run)).manifest[0].target
    await harness.data.put(target, b"\xff\xd8\xff of the later run")
    await harness.wake(run, REDELIVER)
    await harness.drain()
    assert await harness.outputs(run) == [target]


async def test_a_finish_that_fails_late_is_not_turned_away_by_an_earlier_ones_mark(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(looks=10**6))
    run = await harness.order()
    delivery, consumer = await harness.until("generate")

    async def end() -> None:
        """The run is cancelled and refunded before the vendor's answer, with the job's id, is here."""
        await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
        await harness.wake(run)
        await harness.step()
        await harness.step()
        assert harness.heard(run) == ["failed"]

    harness.injector.strike("vendor.create", calls(end), done=True)
    harness.injector.strike("vendor.cancel", raises(VendorDown("away")))
    await harness.run(delivery, consumer)
    await harness.drain()
    assert [job.cancelled for job in harness.vendor.jobs.values()] == [True]
    assert [header.seq for header in harness.sent("notify")] == [0, 1]
