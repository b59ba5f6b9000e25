"""Cleaned inputs are audited before a vendor is paid: what may not be shown is not paid for."""

from __future__ import annotations

import dataclasses

import pytest

from messages.codes import Code
from services.errors import AuditDown
from services.objects.port import Result
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness

VIOLATION = Result(violation=True, suspect=False, label="Porn", score=99)
SUSPECT = Result(violation=False, suspect=True, label="Porn", score=70)
INPUT = "input_01.jpg"
RESULT = "frame_07.jpg"


def allow(harness: Harness, **policy: bool) -> None:
    """Let the deployment say so."""
    # The engine holds the bundle already.
    object.__setattr__(harness.out, "policy", dataclasses.replace(harness.out.policy, **policy))


async def test_an_input_that_violates_fails_its_task_and_nothing_is_paid(harness: Harness) -> None:
    harness.findings[INPUT] = VIOLATION
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert harness.vendor.paid == []
    assert not [name for name in await harness.records(run) if name.startswith(("call-", "cleaned", "begun-generate"))]
    assert not harness.injector.count("vendor.upload")
    assert harness.heard(run) == ["failed"]


async def test_a_good_input_is_audited_once_and_before_it_is_recorded(harness: Harness) -> None:
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    seen = harness.injector.seen
    audited = [n for n, place in enumerate(seen) if place.startswith("objects.audit") and place.endswith(INPUT)]
    recorded = next(
        n for n, place in enumerate(seen) if place.startswith("ledger.put_new") and place.endswith("/cleaned")
    )
    assert len(audited) == 1
    assert audited[0] < recorded


async def test_an_audit_that_is_down_is_waited_for_and_is_no_pass(harness: Harness) -> None:
    harness.injector.strike(f"objects.audit .*{INPUT}", *[raises(AuditDown("InternalError"))] * 12)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count(f"objects.audit .*{INPUT}") == 13
    assert {header.attempt for header in harness.sent("clean")} == {0}
    assert len(harness.vendor.paid) == 1


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
    harness: Harness, place: str, policy: dict[str, bool], code: str
) -> None:
    allow(harness, **policy)
    harness.findings[place] = SUSPECT
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed" if code else "success", code)
    assert len(harness.vendor.paid) == (0 if code and place == INPUT else 1)


async def test_a_deployment_may_leave_inputs_unaudited(harness: Harness) -> None:
    allow(harness, audit_inputs=False)
    harness.findings[INPUT] = VIOLATION
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count(f"objects.audit .*{INPUT}") == 0


async def test_the_user_s_own_words_are_audited_also_where_pictures_are_not(harness: Harness) -> None:
    allow(harness, audit_inputs=False)
    run = await harness.order(params={"prompt": "a violation"})
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert harness.vendor.paid == []


async def test_blank_words_are_not_audited(harness: Harness) -> None:
    run = await harness.order(params={"prompt": " \n "})
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.count(r"objects\.audit_text") == 0


async def test_words_that_are_drawn_on_a_result_are_audited_also_without_a_vendor(harness: Harness) -> None:
    run = await harness.order("ai_image_preprocess", {"options": {"watermark": {"text": "a violation"}}})
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert await harness.outputs(run) == []
