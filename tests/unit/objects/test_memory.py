from __future__ import annotations

import asyncio

import pytest

from messages.errors import Permanent
from services.errors import AuditDown, Denied, Exists, NotFound, ObjectsDown
from services.objects.memory import MemoryObjects
from services.objects.port import PictureRule


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.75

    def __call__(self) -> float:
        return self.now


def store(**options: object) -> MemoryObjects:
    return MemoryObjects(bucket="b-1", clock=Clock(), **options)  # type: ignore[arg-type] # the tests' own shorthand


async def test_times_are_whole_seconds_as_in_http() -> None:
    objects = store()
    assert (await objects.put("a", b"")).date == 1_800_000_000.0
    assert (await objects.head("a")).modified == 1_800_000_000.0


async def test_faults_stand_before_and_behind_each_effect() -> None:
    seen: list[tuple[str, str, bool]] = []

    async def note(operation: str, key: str, *, done: bool) -> None:
        seen.append((operation, key, done))

    objects = store(faults=note)
    await objects.put("a", b"1")
    await objects.delete(["a", "b"])
    assert seen == [
        ("put", "a", False),
        ("put", "a", True),
        ("delete", "a", False),
        ("delete", "a", True),
        ("delete", "b", False),
        ("delete", "b", True),
    ]


async def test_a_fault_before_the_effect_stores_nothing() -> None:
    async def down(operation: str, key: str, *, done: bool) -> None:
        raise ObjectsDown("down")

    objects = store(faults=down)
    with pytest.raises(ObjectsDown):
        await objects.put_new("a", b"1")
    objects.faults = None
    with pytest.raises(NotFound):
        await objects.get("a")


async def test_a_held_call_lets_others_pass() -> None:
    gate = asyncio.Event()

    async def hold(operation: str, key: str, *, done: bool) -> None:
        if key == "held":
            await gate.wait()

    objects = store(faults=hold)
    held = asyncio.create_task(objects.put("held", b"1"))
    await objects.put("free", b"2")
    assert [item.key for item in (await objects.list("")).items] == ["free"]
    gate.set()
    await held
    assert [item.key for item in (await objects.list("")).items] == ["free", "held"]


async def test_create_only_means_nothing_where_versions_are_kept() -> None:
    plain, versioned = store(), store(keeps_versions=True)
    for objects in (plain, versioned):
        await objects.put_new("a", b"1")
    with pytest.raises(Exists):
        await plain.put_new("a", b"2")
    await versioned.put_new("a", b"2")
    assert await versioned.versioned()
    assert not await plain.versioned()


async def test_a_url_is_for_one_method_one_bucket_and_a_while() -> None:
    clock = Clock()
    objects = MemoryObjects(bucket="b-1", clock=clock)
    await objects.put("上 a", b"1")
    url = await objects.presign("上 a", expires=60)
    assert url.startswith("memory://b-1/")
    assert await objects.visit(url) == b"1"
    with pytest.raises(Denied):
        await objects.visit(url, method="PUT", body=b"2")
    with pytest.raises(Denied):
        await MemoryObjects(bucket="b-2", clock=clock).visit(url)
    upload = await objects.presign("new", expires=60, method="PUT")
    await objects.visit(upload, method="PUT", body=b"3")
    assert (await objects.get("new")).body == b"3"
    clock.now += 61
    with pytest.raises(Denied, match="expired"):
        await objects.visit(url)


async def test_without_a_picture_service_no_rule_is_known() -> None:
    objects = store()
    await objects.put("a", b"1")
    with pytest.raises(Permanent):
        await objects.process("a", [PictureRule("b", "imageMogr2/strip")])


async def test_without_an_audit_all_is_clean_that_is_there() -> None:
    objects = store()
    await objects.put("a", b"1")
    assert not (await objects.audit(["a"]))[0].result.violation
    with pytest.raises(AuditDown):
        await objects.audit(["a", "b"])
