"""Cleaned inputs are audited before a vendor is paid: what may not be shown is not paid for."""

from __future__ import annotations

import dataclasses

import pytest

from messages.codes import Code
from services.errors import AuditDown
from services.objects.port import Result
from tests.engine.fate import raises
from tests.engine.world import World

VIOLATION = Result(violation=True, suspect=False, label="Porn", score=99)
SUSPECT = Result(violation=False, suspect=True, label="Porn", score=70)
INPUT = "input_01.jpg"
RESULT = "frame_07.jpg"


def allow(world: World, **policy: bool) -> None:
    """Let the deployment say so."""
    # The engine holds the bundle already.
    object.__setattr__(world.out, "policy", dataclasses.replace(world.out.policy, **policy))


async def test_an_input_that_violates_fails_its_task_and_nothing_is_paid(world: World) -> None:
    world.findings[INPUT] = VIOLATION
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert world.vendor.paid == []
    assert not [name for name in await world.records(run) if name.startswith(("call-", "cleaned", "begun-generate"))]
    assert not world.fate.count("vendor.upload")
    assert world.heard(run) == ["failed"]


async def test_a_good_input_is_audited_once_and_before_it_is_recorded(world: World) -> None:
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    seen = world.fate.seen
    audited = [n for n, place in enumerate(seen) if place.startswith("objects.audit") and place.endswith(INPUT)]
    recorded = next(
        n for n, place in enumerate(seen) if place.startswith("ledger.put_new") and place.endswith("/cleaned")
    )
    assert len(audited) == 1
    assert audited[0] < recorded


async def test_an_audit_that_is_down_is_waited_for_and_is_no_pass(world: World) -> None:
    world.fate.strike(f"objects.audit .*{INPUT}", *[raises(AuditDown("InternalError"))] * 12)
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    assert world.fate.count(f"objects.audit .*{INPUT}") == 13
    assert {header.attempt for header in world.sent("clean")} == {0}
    assert len(world.vendor.paid) == 1


@pytest.mark.parametrize(
    ("place", "policy", "code"),
    [
        (INPUT, {}, ""),
        (INPUT, {"block_suspect_inputs": True}, Code.CONTENT_VIOLATION),
        (RESULT, {}, Code.CONTENT_VIOLATION),
        (RESULT, {"block_suspect": False}, ""),
        (RESULT, {"block_suspect": False, "block_suspect_inputs": True}, ""),
    ],
)
async def test_what_is_merely_suspect_is_decided_for_inputs_and_results_apart(
    world: World, place: str, policy: dict[str, bool], code: str
) -> None:
    allow(world, **policy)
    world.findings[place] = SUSPECT
    run = await world.order()
    await world.drain()
    await world.promise(run, "failed" if code else "success", code)
    assert len(world.vendor.paid) == (0 if code and place == INPUT else 1)


async def test_a_deployment_may_leave_inputs_unaudited(world: World) -> None:
    allow(world, audit_inputs=False)
    world.findings[INPUT] = VIOLATION
    run = await world.order()
    await world.drain()
    await world.promise(run, "success")
    assert world.fate.count(f"objects.audit .*{INPUT}") == 0
