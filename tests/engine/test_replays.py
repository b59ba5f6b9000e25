"""Replays of dead letters: their effects on a run, and the limits of these effects."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from messages.bodies import Stage
from messages.codes import Code
from messages.errors import Permanent
from messages.keys import RunId, record_key
from services.errors import BackendDown, ObjectsDown
from services.vendors.port import JobState
from tasks.dead_letters.plan import Action, Refusal
from tasks.dead_letters.replay import Request, Step, plan_all, replay_all
from tasks.dead_letters.selection import Selection, select
from tasks.dead_letters.standing import Case
from tasks.ending.cancel import cancel_task
from tasks.ledger.operators import Replayed
from tasks.ledger.records import Accepted, Erased, Reopening, Verdict
from tasks.wakes import LATEST, REDELIVER
from tests.engine.fault_injector import dies, raises, waits
from tests.engine.harness import Harness
from tests.engine.standins import Plan
from transport.errors import BrokerDown

REQUEST = Request(by="amara", why="the vendor is mended", rate=0)


async def cases(harness: Harness, **selection: object) -> list[Case]:
    return await select(msgspec.convert(selection, Selection), harness.ledger, harness.out.keys)


async def plans(harness: Harness, request: Request = REQUEST) -> list[tuple[str, int]]:
    """Result of a dry run."""
    return [(step.plan.does.value, step.plan.run) for step in plan_all(await cases(harness), request)]


async def replay(harness: Harness, request: Request = REQUEST) -> list[Step]:
    return [step async for step in replay_all(await cases(harness), request, harness.out)]


def does(steps: list[Step]) -> list[str]:
    return [step.plan.does.value for step in steps]


async def audits(harness: Harness) -> list[Replayed]:
    return [audit for case in await cases(harness) for audit in case.letter.replays]


async def failed(harness: Harness, count: int = 1) -> list[RunId]:
    """Tasks whose jobs the vendor ended badly, refunded."""
    harness.vendor.plans.extend(Plan(end=JobState.FAILED) for _ in range(count))
    runs = [await harness.order() for _ in range(count)]
    await harness.drain()
    for run in runs:
        await harness.promise(run, "failed", Code.VENDOR_FAILED)
    return runs


def later(run: RunId, number: int = 1) -> RunId:
    return msgspec.structs.replace(run, run=number)


async def succeeded_at_last(harness: Harness, run: RunId, number: int = 1) -> None:
    """Charged, refunded, charged again; every callback names its run."""
    assert (await harness.verdict(later(run, number))).status == "success"
    assert harness.state(run) == ("success", 2, 1)
    heard = [(call.run, call.status) for call in harness.backend.heard if call.task == run.task]
    assert heard == [(0, "failed"), (number, "success")]
    assert len(await harness.outputs(run)) == 12


async def test_failed_tasks_are_done_again_once_their_cause_is_mended(harness: Harness) -> None:
    runs = await failed(harness, 3)
    assert await plans(harness) == [("new_run", 1)] * 3
    assert not await audits(harness), "a dry run leaves nothing"
    assert does(await replay(harness)) == [Action.NEW_RUN] * 3
    await harness.drain()
    for run in runs:
        await succeeded_at_last(harness, run)
    found = await audits(harness)
    assert [(one.action, one.run, one.by, one.why) for one in found] == [
        ("new_run", 1, "amara", "the vendor is mended")
    ] * 3
    assert await plans(harness) == [("succeeded", 1)] * 3
    before = len(harness.wire.sent)
    assert does(await replay(harness)) == [Refusal.SUCCEEDED] * 3
    assert len(harness.wire.sent) == before, "a success is never replayed"


async def test_a_new_run_has_what_was_sold_and_times_of_its_own(harness: Harness) -> None:
    (run,) = await failed(harness)
    await asyncio.sleep(5000)
    await replay(harness)
    old, new = await harness.ledger.accepted(run), await harness.ledger.accepted(later(run))
    assert old is not None
    assert new is not None
    assert new.deadline - new.created == old.deadline - old.created
    assert new.created >= old.created + 5000
    assert new.traceparent != old.traceparent
    same = msgspec.structs.replace(
        new, created=old.created, deadline=old.deadline, traceparent=old.traceparent, last_call=old.last_call
    )
    assert same == old


async def test_two_operators_make_one_run(harness: Harness) -> None:
    (run,) = await failed(harness)
    both = await cases(harness)

    async def operator(name: str) -> list[str]:
        request = msgspec.structs.replace(REQUEST, by=name)
        return does([step async for step in replay_all(both, request, harness.out)])

    done = await asyncio.gather(operator("amara"), operator("chen"))
    assert {word for words in done for word in words} <= {Action.NEW_RUN, Action.RESUME}
    await harness.drain()
    await succeeded_at_last(harness, run)
    assert await harness.ledger.accepted(later(run, 2)) is None
    assert len(await audits(harness)) == 1


async def test_a_verdict_that_the_backend_does_not_have_is_delivered_first(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(end=JobState.FAILED))
    run = await harness.order()
    harness.injector.strike("backend.deliver", *[raises(BackendDown("away"))] * 2000)
    await harness.drain(2000)
    harness.injector.clear()
    assert harness.state(run) == ("pending", 1, 0)
    # One of the vendor's failure, one of the callback.
    assert await plans(harness) == [("deliver", 0), ("duplicate", 0)]
    await replay(harness)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert await plans(harness) == [("new_run", 1), ("duplicate", 1)]
    await replay(harness)
    await harness.drain()
    assert harness.state(run) == ("success", 2, 1)


async def test_a_success_that_was_not_delivered_is_delivered_and_not_repeated(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("backend.deliver", *[raises(BackendDown("away"))] * 2000)
    await harness.drain(2000)
    harness.injector.clear()
    assert does(await replay(harness)) == [Action.DELIVER]
    await harness.drain()
    await harness.promise(run, "success")
    assert does(await replay(harness)) == [Refusal.SUCCEEDED]
    assert len(harness.vendor.paid) == 1


async def test_an_unfinished_run_is_woken(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("poll")
    harness.injector.strike("ledger.list ledger/", *[raises(Permanent("odd"))] * 5)
    await harness.wake(run, "webhook", 0)
    while not (found := await cases(harness)):
        await harness.step()
    harness.injector.clear()
    assert found[0].letter.record is not None
    assert found[0].letter.record.stage == Stage.WAKE
    assert does(await replay(harness)) == [Action.WAKE]
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_a_run_that_has_aged_out_is_refused(harness: Harness) -> None:
    (run,) = await failed(harness)
    page = await harness.ledger.objects.list(record_key(run, ""))
    await harness.ledger.objects.delete([item.key for item in page.items])
    harness.ledger.cache.clear()
    before = len(harness.wire.sent)
    assert does(await replay(harness)) == [Refusal.AGED_OUT]
    assert len(harness.wire.sent) == before


async def test_a_cancelled_task_is_refused(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("poll")
    harness.injector.strike("ledger.list ledger/", *[raises(Permanent("odd"))] * 5)
    await harness.wake(run, "webhook", 0)
    while not await cases(harness):
        await harness.step()
    harness.injector.clear()
    await cancel_task(run, harness.out)
    await harness.drain()
    assert does(await replay(harness)) == [Refusal.CANCELLED]


PLACES = (
    "ledger.put_new dead/",
    "ledger.put_new ledger/.*/0-1/accepted",
    "broker.publish wake",
)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("place", PLACES)
async def test_a_replay_that_is_killed_goes_on_where_it_stopped(harness: Harness, place: str, *, done: bool) -> None:
    runs = await failed(harness, 4)
    died: list[str] = []

    async def command() -> None:
        async for step in replay_all(await cases(harness), REQUEST, harness.out):
            died.append(step.case.letter.id.text)
            if len(died) == 2:
                harness.injector.strike(place, dies(), done=done)

    assert not await harness.survives(command())
    assert len(died) == 2
    harness.engine = harness.new_engine()
    first = await plans(harness)
    assert first[:2] == [("resume", 1)] * 2
    assert first[3] == ("new_run", 1)
    await replay(harness)
    await harness.drain()
    for run in runs:
        await succeeded_at_last(harness, run)
    assert [(one.action, one.run) for one in await audits(harness)] == [("new_run", 1)] * 4
    assert len(harness.vendor.paid) == 8


@pytest.mark.parametrize("error", [BrokerDown("no receipt"), ObjectsDown("503")])
async def test_a_replay_that_fails_half_way_goes_on_when_it_is_given_again(harness: Harness, error: Exception) -> None:
    runs = await failed(harness, 2)
    place = "broker.publish wake" if isinstance(error, BrokerDown) else "ledger.put_new ledger/.*/0-1/accepted"
    harness.injector.strike(place, *[raises(error)] * 3)
    with pytest.raises(type(error)):
        await replay(harness)
    harness.injector.clear()
    await replay(harness)
    await harness.drain()
    for run in runs:
        await succeeded_at_last(harness, run)


async def test_a_lost_answer_to_the_question_charges_once(harness: Harness) -> None:
    (run,) = await failed(harness)
    harness.injector.strike("backend.reopen", raises(BackendDown("cut")), raises(BackendDown("cut")), done=True)
    await replay(harness)
    await harness.drain()
    await succeeded_at_last(harness, run)


@pytest.mark.parametrize("arrives", [False, True])
async def test_a_question_that_is_never_answered_ends_with_a_refund(harness: Harness, *, arrives: bool) -> None:
    (run,) = await failed(harness)
    await replay(harness)
    harness.injector.strike("backend.reopen", *[raises(BackendDown("cut"))] * 5000, done=arrives)
    accepted = await harness.ledger.accepted(later(run))
    assert accepted is not None
    while harness.now() < accepted.deadline + 60:
        if harness.wire.open:
            await harness.step()
        else:
            await asyncio.sleep(180)
            await harness.wake(run, "sweep", LATEST)
    await harness.drain()
    verdict = await harness.verdict(later(run))
    assert (verdict.status, verdict.code) == ("failed", Code.TIMEOUT)
    assert [(call.run, call.status) for call in harness.backend.heard] == [(0, "failed"), (1, "failed")]
    assert harness.state(run) == (("failed", 2, 2) if arrives else ("failed", 1, 1))
    assert "delivered" in await harness.records(later(run))
    harness.injector.clear()
    first, *_ = await cases(harness)
    assert [step.plan.does for step in plan_all([first], REQUEST)] == [Refusal.REPLAYED]
    again = msgspec.structs.replace(REQUEST, again=True)
    assert does([step async for step in replay_all([first], again, harness.out)]) == [Action.NEW_RUN]
    await harness.drain()
    assert (await harness.verdict(later(run, 2))).status == "success"
    charged, refunded = harness.state(run)[1:]
    assert charged - refunded == 1


async def test_a_wake_that_comes_too_late_does_not_deny_what_another_asks(harness: Harness) -> None:
    """The record `reopening` decides between them, so that no charge is left behind."""
    (run,) = await failed(harness)
    await replay(harness)
    await harness.wake(run, "sweep", 1)
    asking, denying = await harness.take(), await harness.take()
    accepted = await harness.ledger.accepted(later(run))
    assert accepted is not None
    await asyncio.sleep(accepted.deadline - 3 - harness.now())
    harness.injector.strike("backend.reopen", waits(10), raises(BackendDown("cut")), done=True)

    async def deny() -> None:
        await asyncio.sleep(5)
        await harness.run(*denying)

    await asyncio.gather(harness.run(*asking), deny())
    await harness.drain()
    records = await harness.records(later(run))
    assert "reopen_denied" not in records
    assert records["verdict"]["status"] == "failed"
    assert harness.state(run) == ("failed", 2, 2)


async def test_a_replay_that_was_denied_for_its_lateness_is_never_asked_about(harness: Harness) -> None:
    (run,) = await failed(harness)
    await replay(harness)
    await harness.ledger.write(later(run), Reopening.at(), Reopening(asked=False))
    await harness.drain()
    assert set(await harness.records(later(run))) == {"accepted", "reopening", "reopen_denied"}
    assert harness.injector.count("backend.reopen") == 0


async def test_a_denied_run_is_followed_by_another(harness: Harness) -> None:
    (run,) = await failed(harness)
    await replay(harness)
    accepted = await harness.ledger.accepted(later(run))
    assert accepted is not None
    await asyncio.sleep(accepted.deadline + 1 - harness.now())
    await harness.drain()
    assert "reopen_denied" in await harness.records(later(run))
    assert await plans(harness) == [("new_run", 2)]
    await replay(harness)
    await harness.drain()
    await succeeded_at_last(harness, run, 2)


async def test_an_older_run_is_not_called_back_again_once_a_later_one_is_open(harness: Harness) -> None:
    (run,) = await failed(harness)
    await replay(harness)
    await harness.pass_by("collect")
    await harness.wake(run, REDELIVER, 0)
    await harness.pass_by("collect")
    await harness.drain()
    await succeeded_at_last(harness, run)


async def test_a_run_that_failed_again_has_a_letter_of_its_own(harness: Harness) -> None:
    (run,) = await failed(harness)
    harness.vendor.plans.append(Plan(end=JobState.FAILED))
    await replay(harness)
    await harness.drain()
    assert harness.state(run) == ("failed", 2, 2)
    assert await plans(harness) == [("replayed", 1), ("new_run", 2)]
    await replay(harness)
    await harness.drain()
    assert harness.state(run) == ("success", 3, 2)
    assert [call.run for call in harness.backend.heard] == [0, 1, 2]


async def test_rate_and_cap_hold(harness: Harness) -> None:
    await failed(harness, 5)
    loop = asyncio.get_running_loop()
    started = loop.time()
    request = msgspec.structs.replace(REQUEST, rate=0.5, most=3)
    assert len(plan_all(await cases(harness), request)) == 3
    assert does(await replay(harness, request)) == [Action.NEW_RUN] * 3
    assert loop.time() - started == pytest.approx(4.0, abs=0.5)
    await harness.drain()
    # Those that are done do not count.
    assert does(await replay(harness, request)) == [Refusal.SUCCEEDED] * 3 + [Action.NEW_RUN] * 2


async def test_a_cap_leads_on_to_the_letters_that_were_not_replayed_yet(harness: Harness) -> None:
    """Replays of an earlier command are resumed beyond the cap; otherwise this one would never reach the others."""
    runs = await failed(harness, 5)
    request = msgspec.structs.replace(REQUEST, most=2)
    assert does(await replay(harness, request)) == [Action.NEW_RUN] * 2
    assert [step.plan.does for step in plan_all(await cases(harness), request)] == [
        *[Action.RESUME] * 2,
        *[Action.NEW_RUN] * 2,
    ]
    assert does(await replay(harness, request)) == [Action.RESUME] * 2 + [Action.NEW_RUN] * 2
    assert does(await replay(harness, request)) == [Action.RESUME] * 4 + [Action.NEW_RUN]
    await harness.drain()
    for run in runs:
        await succeeded_at_last(harness, run)


async def test_a_run_is_read_again_after_the_pause_before_its_replay(harness: Harness) -> None:
    """At a low rate a letter waits for long, and its run may end, or its user's data be erased, meanwhile."""
    await failed(harness, 2)
    both = await cases(harness)
    record = both[-1].letter.record
    assert record is not None
    last = RunId(record.user, record.task)
    steps: list[Step] = []

    async def command() -> None:
        request = msgspec.structs.replace(REQUEST, rate=0.001)
        steps.extend([step async for step in replay_all(both, request, harness.out)])

    async def erase() -> None:
        await asyncio.sleep(500)
        await harness.ledger.write(last, Erased.at(), Erased())

    await asyncio.gather(command(), erase())
    assert does(steps) == [Action.NEW_RUN, Refusal.ERASED]
    assert await harness.ledger.accepted(later(last)) is None


async def test_letters_of_an_older_and_of_a_later_run_make_one_run(harness: Harness) -> None:
    (run,) = await failed(harness)
    harness.vendor.plans.append(Plan(end=JobState.FAILED))
    await replay(harness)
    await harness.drain()
    request = msgspec.structs.replace(REQUEST, again=True)
    assert await plans(harness, request) == [("new_run", 2), ("duplicate", 2)]
    assert does(await replay(harness, request)) == [Action.NEW_RUN, Refusal.DUPLICATE]
    await harness.drain()
    assert harness.state(run) == ("success", 3, 2)


async def test_a_name_and_a_reason_that_are_no_unicode_are_kept_as_far_as_they_are(harness: Harness) -> None:
    """A terminal in another encoding passes bytes that are not UTF-8: lone surrogates in Python."""
    await failed(harness)
    odd = msgspec.structs.replace(REQUEST, by="amara\udcff", why="\udcd4" + "x" * 300)
    assert does(await replay(harness, odd)) == [Action.NEW_RUN]
    (audit,) = await audits(harness)
    assert (audit.by, audit.why) == ("amara?", "?" + "x" * 199)


async def test_a_record_that_this_build_cannot_read_is_left_alone(harness: Harness) -> None:
    (run,) = await failed(harness)
    key = record_key(run, Verdict.at().text)
    await harness.ledger.objects.put(key, b"{}")
    harness.ledger.cache.clear()
    assert does(await replay(harness)) == [Refusal.UNREADABLE]


async def test_a_success_is_not_replayed_though_a_letter_of_it_is_there(harness: Harness) -> None:
    (run,) = await failed(harness)
    await harness.ledger.objects.put(
        record_key(run, Verdict.at().text),
        msgspec.json.encode({"nonce": "n", "record": Verdict("success", job="job1")}),
    )
    harness.ledger.cache.clear()
    assert does(await replay(harness)) == [Refusal.SUCCEEDED]
    assert await harness.ledger.read(later(run), Accepted.at()) is None
