"""The audit of results: nothing is shown that has not passed it."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.stages.audit import audited, blocked_slots, is_blocked
from messages.codes import Code
from messages.errors import Rejected
from services.errors import AuditDown
from services.objects.memory import MemoryObjects
from services.objects.port import Result
from services.vendors.registry import Vendors
from tasks.context import Policy, Services
from tasks.ledger.records import StagedResult

CLEAN = Result(violation=False, suspect=False, label="Normal", score=0)
SUSPECT = Result(violation=False, suspect=True, label="Porn", score=70)
VIOLATION = Result(violation=True, suspect=False, label="Porn", score=99)


@pytest.mark.parametrize(
    ("result", "block_suspect", "expected"),
    [
        (CLEAN, True, False),
        (CLEAN, False, False),
        (SUSPECT, True, True),
        (SUSPECT, False, False),
        (VIOLATION, True, True),
        (VIOLATION, False, True),
        (Result(violation=True, suspect=True, label="x", score=1), False, True),
    ],
)
def test_what_keeps_a_picture_from_being_shown(result: Result, *, block_suspect: bool, expected: bool) -> None:
    assert is_blocked(result, block_suspect=block_suspect) is expected


def outside(found: dict[str, Result], *, block_suspect: bool = True) -> Services:
    nobody: Any = None
    return Services(
        broker=nobody,
        objects=MemoryObjects(bucket="b-1", clock=lambda: 1.0, audit=lambda key, _: found.get(key, CLEAN)),
        bucket="b-1",
        ledger=nobody,
        backend=nobody,
        vendors=Vendors(),
        fetcher=nobody,
        policy=Policy(block_suspect=block_suspect),
    )


async def store(services: Services, *keys: str) -> list[str]:
    for key in keys:
        await services.objects.put(key, b"picture")
    return [*keys]


async def test_clean_pictures_pass() -> None:
    seen: list[str] = []

    def look(key: str, _: bytes) -> Result:
        seen.append(key)
        return CLEAN

    out = outside({})
    out.objects._audit = look
    await audited(await store(out, "a", "b"), out, block_suspect=True)
    assert seen == ["a", "b"]


@pytest.mark.parametrize("bad", ["a", "b", "c"])
async def test_one_bad_picture_of_several_is_enough(bad: str) -> None:
    out = outside({bad: VIOLATION})
    keys = await store(out, "a", "b", "c")
    with pytest.raises(Rejected, match=f"Porn in {bad}") as raised:
        await audited(keys, out, block_suspect=True)
    assert raised.value.code is Code.CONTENT_VIOLATION


async def test_a_suspect_is_blocked_unless_the_deployment_allows_it() -> None:
    strict, lenient = outside({"a": SUSPECT}), outside({"a": SUSPECT}, block_suspect=False)
    for out, found in ((strict, {2: Code.CONTENT_VIOLATION}), (lenient, {})):
        await store(out, "a", "b")
        files = [StagedResult("a", "e", 1, 2), StagedResult("b", "e", 1, 3)]
        assert await blocked_slots(files, out) == found


async def test_an_audit_that_fails_is_no_pass() -> None:
    with pytest.raises(AuditDown):
        await audited(["not/stored"], outside({}), block_suspect=True)
