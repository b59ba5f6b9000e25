"""Several keys of a vendor: paid calls use them in turn, and every question about a call uses the call's own key."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from messages.codes import Code
from messages.keys import RunId
from services.errors import VendorDown, VendorFull
from services.vendors.port import VendorKey, key_of
from tasks.calls.lines import Waiter
from tasks.calls.room import Full, find_room
from tasks.ledger.records import Verdict
from tests.engine.fault_injector import raises, waits
from tests.engine.harness import Harness
from tests.engine.standins import InstantVendor, ScriptedVendor
from tests.engine.test_paid import FULL, LOST


def second(harness: Harness, label: str = "second") -> ScriptedVendor:
    """A key of another account."""
    vendor = ScriptedVendor(harness.injector, 12)
    vendor.label = label
    # Other accounts do not know its jobs.
    vendor._numbers = itertools.count(101)
    harness.vendors[label] = vendor
    return vendor


async def labels(harness: Harness, *runs: RunId) -> Counter[str]:
    """The labels that the runs' calls were made with."""
    return Counter([(await harness.records(run))["call-1-1"]["label"] for run in runs])


async def test_calls_use_the_keys_in_turn_and_each_jobs_looks_use_its_own(harness: Harness) -> None:
    other = second(harness)
    runs = [await harness.order() for _ in range(4)]
    await harness.drain()
    for run in runs:
        await harness.promise(run, "success")
    assert await labels(harness, *runs) == {"main": 2, "second": 2}
    assert len(harness.vendor.paid) == len(other.paid) == 2


async def test_a_full_key_is_passed_over_at_once_and_pauses_by_itself(harness: Harness) -> None:
    other = second(harness)
    harness.vendor.full = 1
    first, later = await harness.order(), await harness.order()
    for _ in range(2):
        delivery, consumer = await harness.until("generate")
        await harness.run(delivery, consumer)
    assert len(other.paid) == 2
    assert harness.vendor.paid == []
    assert {header.seq for header in harness.sent("generate")} == {0}
    await harness.drain()
    assert await labels(harness, first, later) == {"second": 2}


async def test_while_every_key_is_full_the_vendor_pauses(harness: Harness) -> None:
    other = second(harness)
    harness.vendor.full = other.full = 1
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert harness.pauses.left((), (key_of(harness.vendor),)) >= 30
    assert harness.pauses.left((), (key_of(other),)) >= 30
    assert "call-1-1" not in await harness.records(run)
    await harness.drain()
    await harness.promise(run, "success")
    assert {header.attempt for header in harness.sent("generate")} == {0}


async def test_a_create_that_a_full_key_does_not_accept_is_soon_made_with_another(harness: Harness) -> None:
    other = second(harness)
    harness.vendor.creates.append(FULL)
    run = await harness.order()
    began = harness.now()
    for _ in range(2):
        delivery, consumer = await harness.until("generate")
        await harness.run(delivery, consumer)
    assert harness.now() - began < 3
    assert harness.pauses.left((), (key_of(harness.vendor),)) > 20
    records = await harness.records(run)
    assert [records[f"call-1-{n}"]["label"] for n in (1, 2)] == ["main", "second"]
    assert (records["call-1-1-end"]["how"], other.paid) == ("not_accepted", ["job101"])


async def test_a_key_that_gives_no_usable_answer_stops_no_other(harness: Harness) -> None:
    other = second(harness)
    harness.injector.strike("vendor.room", *[raises(VendorDown("401"))] * 3)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert (harness.vendor.paid, other.paid) == ([], ["job101"])


async def test_where_no_key_gives_a_usable_answer_it_is_an_outage(harness: Harness) -> None:
    second(harness)
    harness.injector.strike("vendor.room", *[raises(VendorDown("401"))] * 6)
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert harness.sent("generate")[-1].seq == 1
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_draining_key_is_looked_at_and_makes_no_new_calls(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("poll")
    other = second(harness)
    harness.draining = frozenset({key_of(harness.vendor)})
    harness.open_vendors()
    later = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    await harness.promise(later, "success")
    assert await labels(harness, run, later) == {"main": 1, "second": 1}
    assert len(other.paid) == 1


async def test_where_every_key_is_draining_new_calls_wait_for_another_machine(harness: Harness) -> None:
    harness.draining = frozenset({key_of(harness.vendor)})
    harness.open_vendors()
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.run(delivery, consumer)
    assert harness.vendor.paid == []
    assert harness.injector.count("vendor.room") == 0
    harness.draining = frozenset()
    harness.open_vendors()
    await harness.drain()
    await harness.promise(run, "success")


async def test_a_job_of_a_key_that_is_gone_waits_and_no_other_account_is_asked(harness: Harness) -> None:
    run = await harness.order()
    await harness.pass_by("poll")
    other = second(harness)
    main = harness.vendors.pop("runninghub")
    for _ in range(2):
        await harness.step()
    assert harness.injector.count("vendor.query") == 0
    harness.vendors["runninghub"] = main
    await harness.drain()
    await harness.promise(run, "success")
    assert other.paid == []


async def test_the_job_that_a_cancelled_run_leaves_is_stopped_with_its_own_key(harness: Harness) -> None:
    other = second(harness)
    harness.vendor.full = 1
    run = await harness.order()
    await harness.pass_by("poll")
    await harness.ledger.write(run, Verdict.at(), Verdict("cancelled", Code.CANCELLED))
    await harness.wake(run, "cancel")
    await harness.drain()
    await harness.promise(run, "cancelled", Code.CANCELLED)
    assert other.jobs["job101"].cancelled


async def test_a_lost_answer_of_one_key_is_never_posted_again_with_another(harness: Harness) -> None:
    other = second(harness)
    harness.vendor.creates.append(LOST)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert other.paid == []
    assert harness.injector.count("vendor.create") == 1


async def test_calls_at_once_with_a_key_are_its_share(harness: Harness) -> None:
    """A synchronous vendor: each call lasts a minute, and this process may make one at once with each key."""
    other = second(harness)
    harness.vendors[harness.vendor.name] = InstantVendor(harness.vendor, 12)
    harness.vendors["second"] = InstantVendor(other, 12)
    harness.shares = {"runninghub": 1}
    harness.open_vendors()
    harness.injector.strike("vendor.create", *[waits(60.0)] * 3)
    runs = [await harness.order() for _ in range(3)]
    taken = [await harness.until("generate") for _ in runs]
    began = [asyncio.create_task(harness.run(*one)) for one in taken]
    await asyncio.sleep(30)
    assert harness.injector.count("vendor.create") == 2
    keys = [key_of(harness.vendor), key_of(other)]
    assert [harness.out.lines.held(key) for key in keys] == [1, 1]
    # The third one waits in line, and the vendor accepts no other call for a moment.
    assert harness.sent("generate")[-1].seq == 1
    await asyncio.gather(*began)
    assert [harness.out.lines.held(key) for key in keys] == [0, 0]
    await harness.drain()
    for run in runs:
        await harness.promise(run, "success")


@pytest.mark.parametrize("error", [VendorFull("no"), VendorDown("no")])
async def test_a_key_that_had_no_room_is_held_by_no_call(harness: Harness, error: Exception) -> None:
    second(harness)
    harness.injector.strike("vendor.room", *[raises(error)] * 20)
    for number in range(3):
        try:
            assert isinstance(
                await find_room("runninghub", Waiter(RunId("u1", f"t{number}"), 1, 0.0), harness.out), Full
            )
        except VendorDown:
            assert isinstance(error, VendorDown)
    assert [harness.out.lines.held(VendorKey("runninghub", label)) for label in ("main", "second")] == [0, 0]


async def test_a_stage_that_is_cut_off_while_it_asks_gives_the_key_back(harness: Harness) -> None:
    harness.injector.strike("vendor.room", waits(1000.0))
    asking = asyncio.create_task(find_room("runninghub", Waiter(RunId("u1", "t1"), 1, 0.0), harness.out))
    await asyncio.sleep(1)
    assert harness.out.lines.held(key_of(harness.vendor)) == 1
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert harness.out.lines.held(key_of(harness.vendor)) == 0
