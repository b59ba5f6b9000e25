"""Each check of the doctor, on services with the one fault that the check must find."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from console.doctor.checks import checks_of
from runtime.settings import Settings
from services.errors import CheckFailed, Denied
from services.media.ai_labels import AiLabels
from services.objects.checks import RACERS
from services.objects.port import Content, ObjectInfo, PictureRule, Processed
from services.vendors.registry import Vendors
from telemetry.secrets import Secret
from tests.engine.harness import Harness
from tests.engine.virtual import VirtualLoop
from tests.support.bucket_rules import sound_buckets
from transport.sqlite import SqliteOptions


def look(name: str, spoil: Callable[[Harness], None] = lambda _: None) -> str:
    """Run one check by its name on a broken harness; return its result."""

    async def play() -> str:
        async with Harness() as harness:
            spoil(harness)
            checks = checks_of(Settings(), SqliteOptions("sqlite:///:memory:"), harness.out, sound_buckets())
            seen = await next(check for check in checks if check.name == name).run()
            assert await harness.keys("") == [], "an examination leaves nothing behind"
            assert [item.key for item in (await harness.ledger.objects.list("")).items] == []
            return seen

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(play())


@pytest.mark.parametrize(
    "name",
    ["broker", "backlog", "data bucket", "picture service", "audit", "video audit", "ledger: versioning", "clock"],
)
def test_what_is_well_is_told_so(name: str) -> None:
    assert look(name)


def labelled(producer: str = "示例公司") -> Callable[[Harness], None]:
    def spoil(harness: Harness) -> None:
        secret = Secret("a secret of the labels in tests, long")
        harness.out = dataclasses.replace(harness.out, labels=AiLabels(producer, "", secret, visible=True))

    return spoil


def test_a_label_is_read_back_from_the_picture_itself() -> None:
    assert look("AI labels", labelled()).startswith("a metadata label was written and read back")


def test_a_label_that_does_not_stay_is_found() -> None:
    def spoil(harness: Harness) -> None:
        labelled()(harness)
        inner = harness.data.process

        async def forget(key: str, rules: Sequence[PictureRule]) -> Processed:
            return await inner(key, [PictureRule(rule.key, "imageMogr2/format/jpg") for rule in rules])

        harness.data.process = forget  # type: ignore[method-assign]

    with pytest.raises(CheckFailed, match="does not bear"):
        look("AI labels", spoil)


def test_a_deployment_without_a_vendor_needs_no_label() -> None:
    def spoil(harness: Harness) -> None:
        labelled("")(harness)
        harness.out = dataclasses.replace(harness.out, vendors=Vendors())

    with pytest.raises(RuntimeError, match="StopIteration"):
        look("AI labels", spoil)


def test_a_label_without_a_provider_is_not_enough() -> None:
    with pytest.raises(CheckFailed, match="names no provider") as caught:
        look("AI labels", labelled(""))
    assert "AI_LABEL_PRODUCER" in caught.value.remedy


def test_the_label_of_a_video_is_drawn() -> None:
    assert look("video labels", labelled()) == "a video was labelled"


def spoilt(spoil: Callable[[Harness], None]) -> Callable[[Harness], None]:
    def both(harness: Harness) -> None:
        labelled()(harness)
        spoil(harness)

    return both


def endless(harness: Harness) -> None:
    harness.data.audit_looks = 10_000


@pytest.mark.parametrize("name", ["video audit", "video labels"])
def test_a_video_job_that_takes_long_is_not_waited_for(name: str) -> None:
    assert "is at work" in look(name, spoilt(endless))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("video audit", "submit_video_audit"),
        ("video audit", "video_audit"),
        ("video labels", "submit_video_label"),
        ("video labels", "video_label"),
        ("video labels", "head"),
    ],
)
def test_a_video_job_that_is_refused_is_found_and_its_remedy_names_a_right(name: str, call: str) -> None:
    def spoil(harness: Harness) -> None:
        setattr(harness.data, call, _refusing(call))

    with pytest.raises(Denied, match=f"^{call}$"):
        look(name, spoilt(spoil))


def names_of(spoil: Callable[[Harness], None]) -> set[str]:
    async def play() -> set[str]:
        async with Harness() as harness:
            spoil(harness)
            checks = checks_of(Settings(), SqliteOptions("sqlite:///:memory:"), harness.out, sound_buckets())
            assert all(check.remedy for check in checks)
            return {check.name for check in checks if check.name.startswith("video")}

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(play())


def test_only_what_this_deployment_does_with_videos_is_checked() -> None:
    def invisible(harness: Harness) -> None:
        labels = AiLabels("示例公司", "", Secret("a secret of the labels in tests, long"), visible=False)
        harness.out = dataclasses.replace(harness.out, labels=labels)

    def of_pictures_alone(harness: Harness) -> None:
        harness.out = dataclasses.replace(harness.out, vendors=Vendors())

    assert names_of(labelled()) == {"video audit", "video labels"}
    assert names_of(invisible) == {"video audit"}
    assert names_of(spoilt(of_pictures_alone)) == set()


def test_of_fifty_writes_at_once_one_wins() -> None:
    assert RACERS == 50
    assert look("ledger: create-only") == "50 writes at once, one winner"


def test_a_ledger_that_was_ever_versioned_is_refused() -> None:
    def spoil(harness: Harness) -> None:
        async def versioned() -> bool:
            return True

        harness.ledger.objects.versioned = versioned  # type: ignore[method-assign]

    with pytest.raises(CheckFailed, match="versioning"):
        look("ledger: versioning", spoil)


def test_a_store_that_ignores_create_only_is_found() -> None:
    """As a versioned bucket does: the header changes nothing there."""

    def spoil(harness: Harness) -> None:
        store = harness.ledger.objects

        async def put_new(key: str, body: bytes, *, content_type: str = "") -> ObjectInfo:
            return await store.put(key, body, content_type=content_type)

        store.put_new = put_new  # type: ignore[method-assign]

    with pytest.raises(CheckFailed, match="50 of 50"):
        look("ledger: create-only", spoil)


@pytest.mark.parametrize("off", [-3600.0, -7.0, 7.0, 3600.0])
def test_a_clock_that_is_off_is_found(off: float) -> None:
    def spoil(harness: Harness) -> None:
        harness.jump = off

    with pytest.raises(CheckFailed, match="clock is off by"):
        look("clock", spoil)


@pytest.mark.parametrize("off", [-4.0, 4.0])
def test_a_clock_that_is_nearly_right_is_right(off: float) -> None:
    def spoil(harness: Harness) -> None:
        harness.jump = off

    assert look("clock", spoil)


def test_a_store_that_reads_back_something_else_is_found() -> None:
    def spoil(harness: Harness) -> None:
        get = harness.data.get

        async def other(key: str, **more: Any) -> Content:
            return msgspec.structs.replace(await get(key, **more), body=b"of somebody else")

        harness.data.get = other  # type: ignore[method-assign]

    with pytest.raises(CheckFailed, match="not what was read"):
        look("data bucket", spoil)


@pytest.mark.parametrize(
    ("name", "first"),
    [("data bucket", "copy"), ("picture service", "process"), ("audit", "audit"), ("clock", "put")],
)
def test_an_error_of_the_clean_up_does_not_hide_the_first_one(name: str, first: str) -> None:
    def spoil(harness: Harness) -> None:
        for call in (first, "delete"):
            setattr(harness.data, call, _refusing(call))

    with pytest.raises(Denied, match=f"^{first}$"):
        look(name, spoil)


def test_nor_does_that_of_the_ledger() -> None:
    def spoil(harness: Harness) -> None:
        for call in ("put_new", "delete"):
            setattr(harness.ledger.objects, call, _refusing(call))

    with pytest.raises(Denied, match=r"^put_new$"):
        look("ledger: create-only", spoil)


@pytest.mark.parametrize("name", ["data bucket", "picture service", "audit", "clock"])
def test_a_clean_up_that_fails_by_itself_is_told(name: str) -> None:
    def spoil(harness: Harness) -> None:
        harness.data.delete = _refusing("delete")  # type: ignore[method-assign]

    with pytest.raises(Denied, match=r"^delete$"):
        look(name, spoil)


def _refusing(call: str) -> Callable[..., Awaitable[Any]]:
    async def refuse(*_: Any, **__: Any) -> None:
        raise Denied(call)

    return refuse
