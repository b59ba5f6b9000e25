"""A vendor whose answer to the create is the result, behind the same port and engine as one that makes jobs."""

from __future__ import annotations

import msgspec
import pytest

from messages.bodies import Stage, Wake
from recipes.model_pose12 import MODEL_POSE12
from recipes.table import RECIPES
from services.errors import CreateUnknown, ObjectsDown
from services.vendors.port import JobFile, JobRequest, JobStatus, Results
from tests.engine.fate import raises
from tests.engine.standins import FILES_HOST, ScriptedVendor
from tests.engine.world import World

KIND = "model_pose12"


class AnswersAtOnce:
    """A vendor without jobs; what it shares with the other sort is the scripted vendor's."""

    def __init__(self, scripted: ScriptedVendor) -> None:
        self._scripted = scripted
        self.name = scripted.name
        self.result_hosts = scripted.result_hosts
        self.upload_limit = scripted.upload_limit
        self.find = None
        self.label = scripted.label
        self.check_room = scripted.check_room
        self.upload = scripted.upload
        self.made_for = scripted.made_for
        self.close = scripted.close

    async def create(self, request: JobRequest, *, timeout: float) -> Results:  # noqa: ASYNC109 - the port's word
        created = await self._scripted.create(request, timeout=timeout)
        urls = (f"https://{FILES_HOST}/{created.id}/{n}.jpg" for n in range(1, MODEL_POSE12.count + 1))
        return Results(tuple(JobFile(url, "jpg") for url in urls))

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:
        raise AssertionError(f"asked about {job_id!r} of {kind}")

    async def cancel(self, job_id: str) -> None:
        raise AssertionError(f"told to stop {job_id!r}")


@pytest.fixture
def world() -> World:
    return World(recipes={**RECIPES, KIND: msgspec.structs.replace(MODEL_POSE12, synchronous=True)})


def _install(world: World) -> None:
    world.vendors[world.vendor.name] = AnswersAtOnce(world.vendor)


async def test_results_that_come_with_the_answer_are_stored_and_brought_home(world: World) -> None:
    _install(world)
    run = await world.order()
    await world.drain()
    verdict = await world.promise(run, "success")
    assert verdict.job == ""
    assert len(world.vendor.paid) == 1
    records = await world.records(run)
    assert "call-1-1-result" in records
    assert "call-1-1-id" not in records
    assert [told.split()[1] for told in world.told] == ["clean-0", "generate-0", "collect-0"]


async def test_a_ledger_that_is_away_for_a_minute_costs_neither_the_results_nor_a_second_call(world: World) -> None:
    _install(world)
    world.fate.strike(r"ledger\.put_new .*call-1-1-result", *[raises(ObjectsDown("503"))] * 50)
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_results_whose_collect_is_lost_are_found_by_the_next_wake(world: World) -> None:
    _install(world)
    run = await world.order()
    delivery, consumer = await world.until("collect")
    await consumer.ack(delivery)
    await world.say(run, Stage.WAKE, Wake("sweep"))
    await world.drain()
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_a_lost_answer_is_never_posted_again(world: World) -> None:
    _install(world)
    world.fate.strike(r"vendor\.create", raises(CreateUnknown("no answer")), done=True)
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", "vendor_unknown")
    assert len(world.vendor.paid) == 1
