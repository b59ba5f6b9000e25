"""The backend may hold the contrary verdict: then nothing is visible, whoever dies or errs on the way."""

from __future__ import annotations

import pytest

from messages.bodies import Notify, Stage
from messages.codes import Code
from messages.keys import RunId
from services.backend import StepState
from services.errors import BackendDown, ObjectsDown, VendorDown
from tasks.ledger.records import Accepted, Reopened, Verdict
from tasks.wakes import REDELIVER
from tests.engine.fate import Act, calls, dies, passes, raises
from tests.engine.standins import Plan
from tests.engine.world import World

TROUBLES = {"error": raises(ObjectsDown("away")), "kill": dies()}


async def backend_cancels(world: World, run: RunId) -> None:
    """It refunds by itself."""
    world.backend.book.cancel(run.task)


def blind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend without the question for its state."""

    async def state(_task: str, _step: int) -> None:
        return None

    monkeypatch.setattr(world.backend, "state", state)


async def settle(world: World, run: RunId) -> None:
    """All is well from now on."""
    world.fate.clear()
    await world.drain()
    assert await world.outputs(run) == []
    assert world.state(run) == ("cancelled", 1, 1)
    assert (await world.records(run))["delivered"]["contrary"]


async def test_copies_of_a_slower_finisher_land_after_the_withdrawal_and_are_withdrawn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two finishers of one success: the slow one copies, and dies, after the fast one has withdrawn."""
    blind(world, monkeypatch)
    run = await world.order()
    delivery, consumer = await world.until("collect")
    await backend_cancels(world, run)

    async def fast() -> None:
        await world.say(run, Stage.NOTIFY, Notify(0), seq=3)
        other = world.new_engine()
        await other.run_one(*await world.take())
        assert (await world.records(run))["delivered"]["contrary"]

    world.fate.strike("^objects.copy", calls(fast))
    world.fate.strike("^backend.deliver", passes(), dies())
    await world.run(delivery, consumer)
    assert await world.outputs(run) != []
    await settle(world, run)


async def test_a_wake_never_finishes_a_run_itself(world: World) -> None:
    run = await world.order()
    delivery, _ = await world.until("clean")
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.wake(run)
    await world.step()
    assert world.heard(run) == []
    (note,) = world.sent("notify")
    assert (note.seq, note.attempt, note.not_before) == (0, 0, 0)
    assert delivery


@pytest.mark.parametrize("why", ["cancel", "sweep", "webhook"])
async def test_one_503_on_a_callback_that_a_wake_began_delays_the_refund_by_seconds(world: World, why: str) -> None:
    world.vendor.plans.append(Plan(looks=10**6))
    run = await world.order()
    lost, consumer = await world.until("poll")
    await world.wire.lose(lost, consumer)
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    world.fate.strike("backend.deliver", raises(BackendDown("503")))
    before = world.now()
    await world.wake(run, why)
    await world.drain()
    await world.promise(run, "cancelled", Code.CANCELLED)
    assert world.now() - before < 10


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("place", ["^objects.delete output", "ledger.put_new .*/delivered"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_a_withdrawal_that_breaks_off_is_brought_to_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str, trouble: str, *, done: bool
) -> None:
    blind(world, monkeypatch)
    run = await world.order()
    await world.pass_by("collect")
    await backend_cancels(world, run)
    act: Act = TROUBLES[trouble]
    world.fate.strike(place, act, act, done=done)
    await world.drain()
    assert world.fate.left < 2
    await settle(world, run)


@pytest.mark.parametrize("why", ["sweep", "cancel", REDELIVER])
async def test_whatever_meets_a_contrary_acknowledgement_makes_sure_that_nothing_is_visible(
    world: World, why: str
) -> None:
    run = await world.order()
    await world.pass_by("collect")
    await backend_cancels(world, run)
    await world.drain()
    verdict = await world.verdict(run)
    # The copy of a process that froze for hours.
    await world.data.put(verdict.manifest[0].target, b"\xff\xd8\xff late")
    await world.wake(run, why)
    await settle(world, run)
    assert world.heard(run) == ["success"]


async def test_a_backend_that_plainly_says_the_contrary_never_sees_results_shown(world: World) -> None:
    run = await world.order()
    await world.pass_by("collect")
    await backend_cancels(world, run)
    await world.drain()
    assert world.fate.count("^backend.state") == 1
    assert world.fate.count("^objects.copy output") == 0
    await settle(world, run)


async def test_results_are_shown_where_the_backend_does_not_say_its_state(world: World) -> None:
    run = await world.order()
    world.fate.strike("^backend.state", raises(BackendDown("404")))
    await world.drain()
    await world.promise(run, "success")


async def test_a_backend_that_said_the_contrary_and_takes_the_success_gets_its_results(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await world.order()

    async def contrary(_task: str, _step: int) -> StepState:
        return StepState("failed", run.user)

    monkeypatch.setattr(world.backend, "state", contrary)
    world.fate.strike("^objects.copy", passes(), dies())
    await world.drain()
    await world.promise(run, "success")


async def test_a_task_of_another_user_is_neither_shown_nor_called_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await world.order()

    async def other(_task: str, _step: int) -> StepState:
        return StepState("", "somebody else")

    monkeypatch.setattr(world.backend, "state", other)
    await world.drain()
    assert await world.outputs(run) == []
    assert world.heard(run) == []
    assert [(letter["stage"], letter["verdict"]) for letter in await world.desk()] == [("notify", "leave")]


async def test_a_withdrawal_spares_the_results_of_a_later_run(world: World) -> None:
    run = await world.order()
    await world.pass_by("collect")
    await backend_cancels(world, run)
    await world.drain()
    accepted = await world.ledger.accepted(run)
    assert accepted is not None
    again = RunId(run.user, run.task, run.step, 1)
    await world.ledger.write(again, Accepted.at(), accepted)
    await world.ledger.write(again, Reopened.at(), Reopened())
    target = (await world.verdict(run)).manifest[0].target
    await world.data.put(target, b"\xff\xd8\xff of the later run")
    await world.wake(run, REDELIVER)
    await world.drain()
    assert await world.outputs(run) == [target]


async def test_a_finish_that_fails_late_is_not_turned_away_by_an_earlier_ones_mark(world: World) -> None:
    world.vendor.plans.append(Plan(looks=10**6))
    run = await world.order()
    delivery, consumer = await world.until("generate")
    await world.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await world.wake(run)

    async def end() -> None:
        await world.step()
        await world.step()
        assert world.heard(run) == ["failed"]

    world.fate.strike("vendor.create", calls(end), done=True)
    world.fate.strike("vendor.cancel", raises(VendorDown("away")))
    await world.run(delivery, consumer)
    await world.drain()
    assert all(job.cancelled for job in world.vendor.jobs.values())
