"""A vendor that can find a call is asked for one whose answer was lost, before that counts as unknown."""

from __future__ import annotations

from consumers.stages.generate import OPEN_MARGIN_S
from messages.codes import Code
from messages.keys import RunId
from recipes.model_pose12 import MODEL_POSE12
from services.errors import VendorDown
from services.vendors.instrumented import InstrumentedVendor
from tasks.calls.find import FIND_EVERY_S
from tasks.calls.identity import CallIdentities
from telemetry.secrets import Secret
from tests.engine.fate import raises
from tests.engine.standins import Create, ScriptedVendor
from tests.engine.world import World

LOST = Create(accepted=True, answer="lost")
CUT = Create(accepted=False, answer="lost")
OPEN_S = MODEL_POSE12.create_limit_s + OPEN_MARGIN_S


class Finds:
    """The scripted vendor, which lists its jobs with the identities that were sent with them.

    Args:
        world: its world.
        lag: questions that its list is behind by.
    """

    def __init__(self, world: World, lag: int = 0) -> None:
        self.asked: list[str] = []
        self._world = world
        self._lag = lag
        self._vendor: ScriptedVendor = world.vendor
        self._vendor.find = self._find

    async def _find(self, identity: str) -> str:
        self.asked.append(identity)
        await self._world.fate.pass_by("vendor.find", done=False)
        accepted = [request.identity for request in self._vendor.requests][: len(self._vendor.paid)]
        listed = dict(zip(accepted, self._vendor.paid, strict=True))
        return listed.get(identity, "") if len(self.asked) > self._lag else ""


async def test_a_lost_answer_is_found_and_the_run_succeeds(world: World) -> None:
    finds = Finds(world)
    world.vendor.creates.append(LOST)
    run = await world.order()
    await world.drain()
    verdict = await world.promise(run, "success")
    assert verdict.job == "job1"
    assert world.fate.count("vendor.create") == 1
    assert finds.asked == [world.out.identities.of(run, 1, 1)]


async def test_a_list_that_lags_is_asked_again(world: World) -> None:
    finds = Finds(world, lag=3)
    world.vendor.creates.append(LOST)
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    assert len(finds.asked) == 4
    assert world.fate.count("vendor.create") == 1


async def test_not_found_proves_nothing_and_the_call_ends_unknown(world: World) -> None:
    finds = Finds(world)
    world.vendor.creates.append(CUT)
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert world.fate.count("vendor.create") == 1
    assert OPEN_S / FIND_EVERY_S / 2 <= len(finds.asked) <= OPEN_S / FIND_EVERY_S * 2


async def test_a_call_does_not_count_as_unknown_while_its_vendor_cannot_be_asked(world: World) -> None:
    finds = Finds(world)
    world.vendor.creates.append(LOST)
    world.fate.strike("vendor.find", *[raises(VendorDown("away"))] * 20)
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    assert len(finds.asked) == 21
    assert world.now() - 1_750_000_000 > OPEN_S


async def test_a_wake_asks_too(world: World) -> None:
    finds = Finds(world)
    world.vendor.creates.append(LOST)
    run = await world.order()
    await world.pass_by("generate", 1)
    await world.wake(run, "sweep")
    await world.pass_by("wake")
    assert len(finds.asked) == 1
    assert "call-1-1-id" in await world.records(run)
    await world.drain()
    await world.promise(run, "success")


async def test_a_vendor_that_cannot_find_is_not_asked(world: World) -> None:
    assert InstrumentedVendor(world.vendor).find is None
    world.vendor.creates.append(LOST)
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.VENDOR_UNKNOWN)


async def test_a_question_is_seen_like_every_other_call(world: World) -> None:
    Finds(world)
    find = InstrumentedVendor(world.vendor).find
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
