"""A vendor that can find a call is asked for one whose answer was lost, before that counts as unknown."""

from __future__ import annotations

import asyncio

import pytest

from consumers.stages import failure as failure_module
from consumers.stages.generate import OPEN_MARGIN_S
from messages.codes import Code
from messages.keys import RunId
from recipes.model_pose12 import MODEL_POSE12
from services.errors import VendorDown
from services.vendors.instrumented import InstrumentedVendor
from tasks.calls.find import FIND_EVERY_S
from tasks.calls.identity import CallIdentities
from telemetry.secrets import Secret
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness
from tests.engine.standins import Create, ScriptedVendor

LOST = Create(accepted=True, answer="lost")
CUT = Create(accepted=False, answer="lost")
OPEN_S = MODEL_POSE12.create_limit_s + OPEN_MARGIN_S


class Finds:
    """The scripted vendor, which lists its jobs with their calls' identities.

    Args:
        harness: its harness.
        lag: number of questions by which its list is behind.
    """

    def __init__(self, harness: Harness, lag: int = 0) -> None:
        self.asked: list[str] = []
        self._harness = harness
        self._lag = lag
        self._vendor: ScriptedVendor = harness.vendor
        self._vendor.find = self._find

    async def _find(self, identity: str) -> str:
        self.asked.append(identity)
        await self._harness.injector.pass_by("vendor.find", done=False)
        accepted = [request.identity for request in self._vendor.requests][: len(self._vendor.paid)]
        listed = dict(zip(accepted, self._vendor.paid, strict=True))
        return listed.get(identity, "") if len(self.asked) > self._lag else ""


async def test_a_lost_answer_is_found_and_the_run_succeeds(harness: Harness) -> None:
    finds = Finds(harness)
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.job == "job1"
    assert harness.injector.count("vendor.create") == 1
    assert finds.asked == [harness.out.identities.of(run, 1, 1)]


async def test_a_list_that_lags_is_asked_again(harness: Harness) -> None:
    finds = Finds(harness, lag=3)
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert len(finds.asked) == 4
    assert harness.injector.count("vendor.create") == 1


async def test_not_found_proves_nothing_and_the_call_ends_unknown(harness: Harness) -> None:
    finds = Finds(harness)
    harness.vendor.creates.append(CUT)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert harness.injector.count("vendor.create") == 1
    assert OPEN_S / FIND_EVERY_S / 2 <= len(finds.asked) <= OPEN_S / FIND_EVERY_S * 2


async def test_a_call_does_not_count_as_unknown_while_its_vendor_cannot_be_asked(harness: Harness) -> None:
    finds = Finds(harness)
    harness.vendor.creates.append(LOST)
    harness.injector.strike("vendor.find", *[raises(VendorDown("away"))] * 20)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert len(finds.asked) == 21
    assert harness.now() - 1_750_000_000 > OPEN_S


class Stops(Finds):
    """Delay the first answer by a freeze of the process; this answer shows nothing, and the next one would.

    Args:
        harness: its harness.
        seconds: length of the freeze.
    """

    def __init__(self, harness: Harness, seconds: float) -> None:
        super().__init__(harness, lag=1)
        self._seconds = seconds

    async def _find(self, identity: str) -> str:
        found = await super()._find(identity)
        if len(self.asked) == 1:
            await asyncio.sleep(self._seconds)
        return found


async def test_an_answer_from_before_a_stop_does_not_make_a_call_unknown(harness: Harness) -> None:
    finds = Stops(harness, OPEN_S + 1)
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert len(finds.asked) == 2


async def test_a_wake_that_stops_while_it_asks_ends_no_slot(harness: Harness) -> None:
    finds = Stops(harness, 20.0)
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    lost, consumer = await harness.until("generate", 1)
    await harness.wire.lose(lost, consumer)
    (intent,) = await harness.ledger.calls(run, 1)
    await asyncio.sleep(intent.at + OPEN_S - 10.0 - harness.now())
    await harness.wake(run, "sweep")
    await harness.drain()
    assert len(finds.asked) == 1
    for _ in range(2):  # the job is found, and at work; then it has ended
        await harness.wake(run, "sweep")
        await harness.drain()
    await harness.promise(run, "success")


async def test_a_clock_that_is_behind_makes_no_storm_of_letters(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process takes a call for unknown; the failure function, whose clock is behind, does not yet."""
    may_fail = failure_module.may_fail
    monkeypatch.setattr(failure_module, "may_fail", lambda calls, now, **of: may_fail(calls, now - 4.0, **of))
    Finds(harness)
    harness.vendor.creates.append(CUT)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert len([line for line in harness.reported if " dead-" in line]) <= 3


async def test_a_wake_asks_too(harness: Harness) -> None:
    finds = Finds(harness)
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.pass_by("generate", 1)
    await harness.wake(run, "sweep")
    await harness.pass_by("wake")
    assert len(finds.asked) == 1
    assert "call-1-1-id" in await harness.records(run)
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_vendor_that_cannot_find_is_not_asked(harness: Harness) -> None:
    assert InstrumentedVendor(harness.vendor).find is None
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)


async def test_a_question_is_seen_like_every_other_call(harness: Harness) -> None:
    Finds(harness)
    find = InstrumentedVendor(harness.vendor).find
    assert find is not None
    assert await find("nobody's") == ""


def test_no_two_calls_share_an_identity() -> None:
    secret, other = Secret("a-secret-of-thirty-two-bytes-at-least"), Secret("another-secret-of-thirty-two-bytes-more")
    identities = [
        CallIdentities(deployment, key).of(RunId(user, task, step, run), slot, n)
        for deployment in ("ledger-1", "ledger-2")
        for key in (secret, other)
        for user, task in (("u1", "t1"), ("u1t", "1"))
        for step in (0, 1)
        for run in (0, 1)
        for slot in (1, 2)
        for n in (1, 2)
    ]
    assert len(set(identities)) == len(identities)
    assert all(len(identity) == 50 and identity.isalnum() for identity in identities)


async def test_a_vendor_that_cannot_be_asked_keeps_no_verdict_back_once_the_time_is_over(harness: Harness) -> None:
    Finds(harness)
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    harness.injector.strike("vendor.find", *[raises(VendorDown("HTTP 500"))] * 500)
    lost, consumer = await harness.until("generate", 1)
    await harness.wire.lose(lost, consumer)
    await asyncio.sleep(MODEL_POSE12.deadline_s + 1)
    await harness.wake(run, "sweep", -1)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
