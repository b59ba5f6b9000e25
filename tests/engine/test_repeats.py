"""Reads of the vendor and the store that fail at once are repeated in place, without a new message or a pause."""

from __future__ import annotations

import pytest

from services.errors import ObjectsDown, VendorDown
from services.repeat import TRIES
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness

QUICK = TRIES - 1
"""Failures that one request may have."""
PLACES = {
    "vendor.room": VendorDown("502"),
    "vendor.query": VendorDown("502"),
    "objects.open": ObjectsDown("503"),
    "objects.head input/": ObjectsDown("503"),
    "ledger.get": ObjectsDown("503"),
}


async def played(harness: Harness) -> dict[str, int]:
    """Sell a task and let it end well; return its messages by stage."""
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    return {stage: len(harness.sent(stage)) for stage in ("clean", "generate", "poll", "collect")}


@pytest.mark.parametrize("place", PLACES)
async def test_a_read_that_fails_twice_costs_no_message(harness: Harness, place: str) -> None:
    harness.injector.strike(place, *[raises(PLACES[place])] * QUICK)
    messages = await played(harness)
    assert harness.injector.left == 0
    assert messages == {"clean": 1, "generate": 1, "poll": 2, "collect": 1}
    assert {header.attempt for stage in messages for header in harness.sent(stage)} == {0}


@pytest.mark.parametrize(("place", "stage"), [("vendor.room", "generate"), ("vendor.query", "poll")])
async def test_one_that_fails_three_times_is_an_outage(harness: Harness, place: str, stage: str) -> None:
    usual = await played(harness)
    harness.injector.strike(place, *[raises(PLACES[place])] * TRIES)
    messages = await played(harness)
    assert messages[stage] == 2 * usual[stage] + 1


async def test_a_create_that_fails_is_not_repeated(harness: Harness) -> None:
    harness.injector.strike("vendor.create", raises(VendorDown("502")))
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert harness.injector.count("vendor.create") == 1
    assert "call-1-1-id" not in await harness.records(run)
