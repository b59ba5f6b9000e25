"""Status of pumps, drains and sweeps in the ledger's bucket."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from consumers.engine.pauses import Pauses
from consumers.runners.drain import drain
from consumers.runners.pump import GROUPS
from consumers.runners.status import EVERY_S, PumpState, StatusReport, status_of
from consumers.runners.time_budget import budget_of
from consumers.runners.worker import build_pump
from messages.keys import status_key
from producer.sweep import SweepPosition, resume_sweep
from runtime.settings import Settings
from services.errors import ObjectsDown
from tasks.ledger.status import VERSION, GroupStatus, ProcessStatus, process_name
from tests.engine.fault_injector import raises, waits
from tests.engine.harness import Harness
from tests.seams.scratch import ROOT


@pytest.fixture
def harness() -> Harness:
    return Harness(topics=())


async def read(harness: Harness, process: str) -> ProcessStatus:
    stored = await harness.ledger.objects.get(status_key(process))
    return msgspec.json.decode(stored.body, type=ProcessStatus)


def test_a_status_is_made_of_a_state_and_the_time() -> None:
    state = PumpState(
        groups=[GroupStatus(("poll",), 8)], busy=2, ended={"done": 5}, pauses={"poll": 12.5}, received_s=3.0
    )
    assert status_of(state, "p", 1000.0) == ProcessStatus(
        process="p",
        at=1000.0,
        groups=(GroupStatus(("poll",), 8),),
        busy=2,
        ended={"done": 5},
        pauses={"poll": 1012.5},
        received=997.0,
    )
    idle = msgspec.structs.replace(state, received_s=None)
    assert status_of(idle, "p", 1000.0).received == 0.0


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION == ProcessStatus(process="p", at=0.0).version


def test_a_process_has_a_name_that_a_key_may_hold() -> None:
    assert process_name("consumers").startswith("consumers-")
    assert status_key("consumers-größe/7") == "status/consumers-gr__e_7"


def test_what_rests_is_shown_while_it_rests() -> None:
    now = 100.0
    pauses = Pauses(lambda: now)
    pauses.pause("poll", 30.0)
    assert pauses.resting() == {"poll": 30.0}
    now += 30.0
    assert pauses.resting() == {}


async def test_a_pump_writes_its_status_again_and_again(harness: Harness) -> None:
    pump = build_pump(harness.out)
    report = StatusReport("pump-1", pump.state, harness.ledger)
    run = await harness.order("basic_clean")
    async with report.repeated():
        running = asyncio.create_task(pump.run())
        await asyncio.sleep(2)
        first = await read(harness, "pump-1")
        assert {topic for group in first.groups for topic in group.topics} == {
            topic for group in GROUPS for topic in group.topics
        }
        assert {group.permits for group in first.groups} == {8}
        await asyncio.sleep(2 * EVERY_S)
        second = await read(harness, "pump-1")
        pump.stop()
        await running
    assert first.at < second.at <= harness.now()
    assert second.ended["done"] > 0
    assert 0 < second.received <= second.at
    await harness.promise(run, "success")


@pytest.mark.parametrize("fault", [raises(ObjectsDown("away")), waits(3600.0)])
async def test_a_store_that_takes_no_status_stops_no_pump(
    harness: Harness, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    harness.injector.strike(f"ledger.put {status_key('pump-1')}", *[fault] * 100)
    pump = build_pump(harness.out)
    run = await harness.order("basic_clean")
    async with StatusReport("pump-1", pump.state, harness.ledger).repeated():
        running = asyncio.create_task(pump.run())
        await asyncio.sleep(60)
        pump.stop()
        await running
    await harness.promise(run, "success")
    assert "status.unwritten" in caplog.messages


async def test_a_drain_writes_at_its_end(harness: Harness) -> None:
    run = await harness.order("basic_clean")
    loop = asyncio.get_running_loop()
    drained = await drain(
        harness.out, budget_of(loop.time(), 900.0, 30.0), topics=("clean-normal",), settings=Settings()
    )
    found = await read(harness, process_name("consumers.runners.drain").replace("/", "_"))
    assert found.ended["done"] == drained.done > 0
    assert found.groups == (GroupStatus(("clean-normal",), 8),)
    assert run


async def test_a_drain_without_a_store_ends_within_its_time(harness: Harness) -> None:
    harness.injector.strike("ledger.put status/", *[waits(3600.0)] * 9)
    loop = asyncio.get_running_loop()
    budget = budget_of(loop.time(), 60.0, 10.0)
    await drain(harness.out, budget, topics=(), settings=Settings())
    assert loop.time() <= budget.end


async def test_a_sweep_writes_its_counts(harness: Harness) -> None:
    async def none(*_: Any) -> Any:
        return type("Page", (), {"rows": (), "unreadable": 0, "cursor": None})

    harness.backend.unfinished = none  # type: ignore[attr-defined] # the harness of the sweep's tests has a whole one
    await resume_sweep({}, harness.out, float("inf"), SweepPosition())
    found = await read(harness, "producer.sweep")
    expected: Mapping[str, int] = {"listed": 0, "woken": 0, "pages": 1}
    assert found.sweep.items() >= expected.items()
    assert found.at == pytest.approx(harness.now(), abs=1)
