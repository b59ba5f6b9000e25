"""Videos: as inputs copied, checked and audited before anything is paid; as results audited before they are shown."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager

import httpx
import msgspec
import pytest

from messages.codes import Code
from messages.keys import InputKey, RunId
from services.errors import AuditDown, ObjectsDown
from services.fetch import Fetched
from services.media.spool import Held, hold
from services.objects.port import Result
from services.vendors.port import JobRequest
from tasks.accepting.accept import take_in
from tasks.accepting.inputs import MAX_PICTURE_BYTES
from tests.engine.crashes import outlive_crash
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness, ScriptedVideos, photo
from tests.engine.standins import MP4, Plan, ScriptedVendor
from tests.engine.test_url_inputs import Hosts, sold

VIOLATION = Result(violation=True, suspect=False, label="Porn", score=99)
MOV = b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(100)
LIMIT = 200 << 20


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.vendor = ScriptedVendor(harness.injector, 1)
    harness.vendor.plans.append(Plan(type="mp4"))
    return harness


async def buy(harness: Harness, person: bytes = MP4 + b"a person", name: str = "person.mp4") -> RunId:
    run = RunId("u1", "t1")
    harness.backend.book.sell(run.user, run.task, 0, "video_tryon", "{}", harness.now())
    folder = f"input/{run.user}/{run.task}/"
    await harness.data.put(folder + name, person)
    await harness.data.put(folder + "garment.jpg", photo())
    body = {"kind": "video_tryon", "params": {}, "inputs": [name, "garment.jpg"]}
    await harness.data.put(folder + "task.json", msgspec.json.encode(body))
    return run


async def accept(harness: Harness, run: RunId) -> str:
    return await take_in(InputKey(run.user, run.task, "task.json"), harness.out)


async def bought(harness: Harness, buying: Awaitable[RunId] | None = None) -> RunId:
    """Return a run that is accepted: with a video of a person, or another one."""
    run = await (buying or buy(harness))
    await accept(harness, run)
    return run


def places(harness: Harness, *verbs: str) -> list[str]:
    """Requests to the data bucket with these verbs, in order."""
    found = [place.partition(" ")[0].removeprefix("objects.") for place in harness.injector.seen]
    return [verb for verb in found if verb in verbs]


@pytest.mark.parametrize("name", ["person.mp4", "person.MOV"])
async def test_a_video_of_a_person_becomes_a_video_with_a_still(harness: Harness, name: str) -> None:
    run = await buy(harness, MP4 + b"x" if name.endswith("mp4") else MOV, name)
    assert await accept(harness, run) == "accepted"
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert [item.target.rpartition("/")[2] for item in verdict.manifest] == ["video_01.mp4", "video_01.jpg"]
    (request,) = harness.vendor.requests
    assert (request.videos, [*request.inputs]) == (frozenset({"person"}), ["person", "garment"])
    extension = name.rpartition(".")[2].lower()
    kind = {"mp4": "video/mp4", "mov": "video/quicktime"}[extension]
    assert harness.vendor.uploads[0].startswith(f"input.{extension} {kind} ")
    assert harness.vendor.uploads[1].startswith("input.jpg image/jpeg ")
    # The video is copied by the store, and only read for the vendor and to see what it is.
    assert places(harness, "put").count("put") == 3 + 2


async def test_a_picture_of_a_person_will_do(harness: Harness) -> None:
    run = await buy(harness, photo(), "person.png")
    assert await accept(harness, run) == "accepted"
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.requests[0].videos == frozenset()
    assert places(harness, "submit_video_audit") == ["submit_video_audit"]


async def test_nothing_is_paid_before_the_input_has_passed_and_nothing_is_shown_before_the_result_has(
    harness: Harness,
) -> None:
    harness.data.audit_looks = 3
    run = await buy(harness)
    await accept(harness, run)
    await harness.drain()
    await harness.promise(run, "success")
    seen = [place.partition(" ")[0] for place in harness.injector.seen]
    looks = [n for n, place in enumerate(seen) if place == "objects.video_audit"]
    paid = seen.index("vendor.create")
    shown = next(n for n, place in enumerate(harness.injector.seen) if place.startswith("objects.copy output/"))
    assert len(looks) == 8
    assert looks[3] < paid < looks[4]
    assert looks[7] < shown
    # The still is audited once, when its video has passed.
    assert seen.count("objects.audit") == 2
    assert {"audits-clean-0", "audits-audit-0"} <= set(await harness.records(run))


@pytest.mark.parametrize("key", ["input_01.mp4", "input_02.jpg"])
async def test_a_blocked_input_fails_the_task_unpaid(harness: Harness, key: str) -> None:
    harness.findings[key] = VIOLATION
    run = await buy(harness)
    await accept(harness, run)
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert harness.vendor.paid == []


@pytest.mark.parametrize("key", ["video_01.mp4", "video_01_still.jpg"])
async def test_a_blocked_video_is_never_shown_nor_is_one_with_a_blocked_still(harness: Harness, key: str) -> None:
    harness.findings[key] = VIOLATION
    run = await buy(harness)
    await accept(harness, run)
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert not [place for place in harness.injector.seen if place.startswith("objects.copy output/")]


@pytest.mark.parametrize(
    ("body", "name", "code"),
    [
        (b"MZ no video", "person.mp4", Code.BAD_VIDEO),
        (b"\x1aE\xdf\xa3 webm", "person.mp4", Code.BAD_VIDEO),
        (photo(), "person.mov", Code.BAD_VIDEO),
        (b"", "person.mp4", Code.EMPTY_FILE),
        (MP4, "person.avi", Code.BAD_PARAMETERS),
    ],
)
async def test_what_is_no_video_is_refused_at_the_door(harness: Harness, body: bytes, name: str, code: Code) -> None:
    run = await buy(harness, body, name)
    assert await accept(harness, run) == "rejected"
    await harness.drain()
    await harness.promise(run, "failed", code)


async def test_a_video_is_taken_as_the_person_alone(harness: Harness) -> None:
    run = await buy(harness)
    body = {"kind": "video_tryon", "params": {}, "inputs": ["garment.jpg", "person.mp4"]}
    await harness.data.put(f"input/{run.user}/{run.task}/task.json", msgspec.json.encode(body))
    assert await accept(harness, run) == "rejected"
    await harness.drain()
    await harness.promise(run, "failed", Code.FORMAT_OTHER)


async def test_no_other_kind_takes_a_video(harness: Harness) -> None:
    run = RunId("u1", "t1")
    harness.backend.book.sell(run.user, run.task, 0, "model_pose12", "{}", harness.now())
    meta = {"kind": "model_pose12", "params": "{}"}
    await harness.data.put("input/u1/t1/original.mp4", MP4, meta=meta)
    assert await take_in(InputKey("u1", "t1", "original.mp4"), harness.out) == "rejected"
    await harness.drain()
    await harness.promise(run, "failed", Code.FORMAT_OTHER)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (MP4 + b"unreadable", Code.BAD_VIDEO),
        (MP4 + b"of unknown length", Code.BAD_VIDEO),
        (MP4 + b"long", Code.VIDEO_TOO_LARGE),
    ],
)
async def test_a_video_that_cannot_be_read_or_is_too_long_fails_unpaid(
    harness: Harness, body: bytes, code: Code
) -> None:
    run = await buy(harness, body)
    assert await accept(harness, run) == "accepted"
    await harness.drain()
    await harness.promise(run, "failed", code)
    assert harness.vendor.paid == harness.vendor.uploads == []


async def test_the_limit_of_a_video_is_its_own(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await buy(harness)
    key = f"input/{run.user}/{run.task}/person.mp4"
    stored = harness.data._stored[key]
    for size, taken in ((LIMIT + 1, "rejected"), (LIMIT, "accepted")):
        info = msgspec.structs.replace(stored.info, size=size)
        monkeypatch.setitem(harness.data._stored, key, msgspec.structs.replace(stored, info=info))
        if taken == "accepted":
            # Another task: the verdict of the first one stands.
            harness.backend.book.sell("u1", "t2", 0, "video_tryon", "{}", harness.now())
            for name in ("person.mp4", "garment.jpg", "task.json"):
                there = harness.data._stored[f"input/u1/t1/{name}"]
                moved = msgspec.structs.replace(there.info, key=f"input/u1/t2/{name}")
                harness.data._stored[moved.key] = msgspec.structs.replace(there, info=moved)
            run = RunId("u1", "t2")
        assert await accept(harness, run) == taken
    assert MAX_PICTURE_BYTES < LIMIT


async def test_a_second_upload_after_acceptance_changes_nothing_but_the_end(harness: Harness) -> None:
    run = await buy(harness)
    await accept(harness, run)
    await harness.data.put(f"input/{run.user}/{run.task}/person.mp4", MP4 + b"another")
    await harness.drain()
    await harness.promise(run, "failed", Code.INPUT_CHANGED)
    assert harness.vendor.paid == []


async def test_a_second_upload_after_the_copy_is_never_seen(harness: Harness) -> None:
    run = await buy(harness)
    await accept(harness, run)
    await harness.pass_by("generate")
    await harness.data.put(f"input/{run.user}/{run.task}/person.mp4", MP4 + b"another, and longer")
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.vendor.uploads[0].endswith(f" {len(MP4 + b'a person')}")


async def test_a_video_over_the_vendors_limit_goes_as_a_url_and_is_not_read_here(harness: Harness) -> None:
    harness.vendor.upload_limit = 10
    run = await buy(harness)
    await accept(harness, run)
    await harness.drain()
    await harness.promise(run, "success")
    request: JobRequest = harness.vendor.requests[0]
    assert await harness.data.visit(request.inputs["person"]) == MP4 + b"a person"
    # Opened once, for its first bytes, when the task was accepted.
    assert places(harness, "open") == ["open"]


async def test_an_audit_that_fails_is_begun_again_and_never_a_pass(harness: Harness) -> None:
    run = await buy(harness)
    await accept(harness, run)
    await harness.pass_by("audit")
    harness.injector.strike(r"objects\.video_audit", *[raises(AuditDown("failed"))] * 4)
    await harness.drain()
    await harness.promise(run, "success")
    assert {"audits-audit-0", "audits-audit-1", "audits-audit-2"} <= set(await harness.records(run))


@pytest.mark.parametrize(("stage", "paid"), [("clean", 0), ("audit", 1)])
async def test_an_audit_that_fails_each_time_is_begun_a_few_times_and_the_task_is_refunded_at_its_deadline(
    harness: Harness, stage: str, paid: int
) -> None:
    run = await buy(harness)
    began = harness.now()
    await accept(harness, run)
    await harness.pass_by(stage)
    before = len(places(harness, "submit_video_audit"))
    harness.injector.strike(r"objects\.video_audit", *[raises(AuditDown("AuditingFailed"))] * 500)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert 2_700 <= harness.now() - began < 2_800
    assert len(harness.vendor.paid) == paid
    assert 5 < len(places(harness, "submit_video_audit")) - before < 10
    assert len(places(harness, "video_audit")) > 50


async def test_an_audit_that_fails_for_half_an_hour_is_a_pass_in_time(harness: Harness) -> None:
    run = await buy(harness)
    await accept(harness, run)
    await harness.pass_by("audit")
    harness.injector.strike(r"objects\.video_audit", *[raises(AuditDown("AuditingFailed"))] * 40)
    await harness.drain()
    await harness.promise(run, "success")


async def test_an_input_that_broke_off_is_found_by_its_audit_and_refunded_at_once(harness: Harness) -> None:
    harness.injector.strike(r"objects\.video_audit", *[raises(AuditDown("AuditingFailed"))] * 50)
    run = await buy(harness, MP4 + b"broken off")
    await accept(harness, run)
    began = harness.now()
    await harness.drain()
    await harness.promise(run, "failed", Code.BAD_VIDEO)
    assert harness.vendor.paid == []
    assert harness.now() - began < 60
    assert places(harness, "submit_video_audit") == ["submit_video_audit"]


async def test_a_result_that_broke_off_is_never_shown_and_refunded_at_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = ScriptedVideos.still
    monkeypatch.setattr(ScriptedVideos, "still", lambda self, body, at_s: played(self, body + b"broken off", at_s))
    run = await buy(harness)
    await accept(harness, run)
    await harness.pass_by("audit")
    harness.injector.strike(r"objects\.video_audit", *[raises(AuditDown("AuditingFailed"))] * 50)
    began = harness.now()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert harness.now() - began < 60
    assert not [place for place in harness.injector.seen if place.startswith("objects.copy output/")]


async def test_an_audit_that_is_down_is_waited_for(harness: Harness) -> None:
    harness.injector.strike(r"objects\.submit_video_audit", *[raises(ObjectsDown("503"))] * 7)
    run = await buy(harness)
    await accept(harness, run)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


@pytest.mark.parametrize(
    "place",
    [
        r"objects\.copy staging",
        r"objects\.video_info",
        r"objects\.submit_video_audit",
        r"ledger\.put_new .*audits-clean-0",
        r"ledger\.put_new .*cleaned",
        r"objects\.snapshot",
        r"ledger\.put_new .*staged",
        r"ledger\.put_new .*audits-audit-0",
        r"objects\.video_audit",
    ],
)
@pytest.mark.parametrize("done", [False, True])
async def test_a_crash_anywhere_costs_no_second_call(harness: Harness, place: str, *, done: bool) -> None:
    await outlive_crash(harness, place, bought(harness), done=done)


async def test_a_picture_where_a_video_was_sold_is_looked_for_again_and_then_given_up(harness: Harness) -> None:
    harness.vendor.plans[0] = Plan(type="jpg")
    run = await buy(harness)
    await accept(harness, run)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)


async def test_a_url_may_lead_to_a_video_which_flows_into_the_store(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []

    def counted(download: Fetched) -> AbstractAsyncContextManager[Held]:
        held.append(download.content_type)
        return hold(download)

    monkeypatch.setattr("consumers.stages.fetch_inputs.hold", counted)
    body = MP4 + bytes(3 << 20)
    video = httpx.Response(200, content=body, headers={"Content-Length": str(len(body))})
    hosts = Hosts(video, httpx.Response(200, content=photo()))
    await sold(harness, hosts, "https://a.example/1", "https://a.example/2", kind="video_tryon")
    await harness.pass_by("generate")
    stored = {item.key.rpartition("/")[2]: item.size for item in (await harness.data.list("source/")).items}
    assert stored["input_01.mp4"] == len(body)
    assert stored["input_02.jpg"] == len(photo())
    # The picture alone is held, to be sent again after an error.
    assert held == ["image/jpeg"]


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([(LIMIT + 1, MP4), (0, photo())], Code.VIDEO_TOO_LARGE),
        ([(0, photo()), (0, MP4)], Code.INPUT_UNAVAILABLE),
    ],
)
async def test_a_url_to_a_video_that_is_too_large_or_unwanted_fails_unpaid(
    harness: Harness, answers: list[tuple[int, bytes]], code: Code
) -> None:
    made = [
        httpx.Response(200, content=body, headers={"Content-Length": str(size or len(body))}) for size, body in answers
    ]
    run = await sold(harness, Hosts(*made), "https://a.example/1", "https://a.example/2", kind="video_tryon")
    await harness.drain()
    verdict = await harness.verdict(run)
    assert (verdict.status, verdict.code, harness.vendor.paid) == ("failed", code, [])
