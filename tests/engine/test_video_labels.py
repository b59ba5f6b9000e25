"""The visible label of a video: drawn by a job, before the audit, over the file that is then audited and shown."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable

import pytest
from PIL import Image, ImageChops

from messages.codes import Code
from messages.keys import RunId
from sandbox.video import encoded, frame_at, probe
from services.errors import Denied, LabelDown, ObjectsDown
from services.media.ai_labels import AiLabels
from services.media.mp4_labels import LabelledVideo
from services.objects.port import Result, VideoInfo
from tasks.ledger.records import Waits
from telemetry.secrets import Secret
from tests.engine.crashes import outlive_crash
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness, ScriptedVideos, photo
from tests.engine.standins import Plan, ScriptedVendor
from tests.engine.test_video import bought, buy, places
from tests.support.ai_label import label_in
from tests.support.video_labels import labelled

SECRET = Secret("a secret of the labels in tests, long")
RATE = 4
SECONDS = 5


def labels(*, visible: bool = True) -> AiLabels:
    return AiLabels("示例公司", "", SECRET, visible=visible)


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.vendor = ScriptedVendor(harness.injector, 1)
    harness.vendor.plans.append(Plan(type="mp4"))
    return harness


async def order(harness: Harness, given: AiLabels | None, buying: Awaitable[RunId] | None = None) -> RunId:
    harness.out = dataclasses.replace(harness.out, labels=given)
    harness.engine = harness.new_engine()
    return await bought(harness, buying)


@pytest.fixture(scope="module")
def video() -> bytes:
    """Five seconds of grey."""
    return encoded((Image.new("RGB", (320, 480), (90, 90, 90)) for _ in range(RATE * SECONDS)), rate=RATE)


def serve(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Let the vendor make this video, and the media service really draw."""
    monkeypatch.setattr(ScriptedVideos, "labelled", lambda _, body, label: labelled(body, label))
    monkeypatch.setattr("tests.engine.standins.MP4", body)


async def shown(harness: Harness, run: RunId) -> bytes:
    verdict = await harness.promise(run, "success")
    key = next(item.target for item in verdict.manifest if item.target.endswith(".mp4"))
    return (await harness.data.get(key)).body


async def test_the_words_stand_in_the_first_three_seconds_and_the_metadata_label_is_still_there(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, video: bytes
) -> None:
    serve(monkeypatch, video)
    run = await order(harness, labels())
    await harness.drain()
    body = await shown(harness, run)
    assert (probe(io.BytesIO(body)).codec, probe(io.BytesIO(body)).frames) == ("h264", RATE * SECONDS)
    for at_s, is_seen in ((0.0, True), (2.0, True), (2.7, True), (3.1, False), (4.7, False)):
        change = ImageChops.difference(frame_at(io.BytesIO(body), at_s), Image.new("RGB", (320, 480), (90, 90, 90)))
        box = change.convert("L").point(lambda value: 255 * (value > 60)).getbbox()
        assert (box is not None) is is_seen, at_s
        if box:
            assert box[3] - box[1] >= 0.05 * 320
            assert box[2] < 160
            assert box[3] < 100
    label = label_in(body)
    assert label["ProduceID"] == f"{run.task}-0-0-video_01.mp4"
    assert labels().is_ours(label)


class Whole:
    def __init__(self, body: bytes) -> None:
        self._body, self.size = body, len(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, self.size, 1000):
            yield self._body[at : at + 1000]


async def test_a_metadata_label_of_the_vendor_s_outlives_the_drawing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, video: bytes
) -> None:
    vendors = {"Label": "1", "ContentProducer": "vendor"}
    body = b"".join([piece async for piece in LabelledVideo(Whole(video), json.dumps(vendors).encode())])
    serve(monkeypatch, body)
    run = await order(harness, labels())
    await harness.drain()
    assert label_in(await shown(harness, run)) == vendors


async def test_the_label_comes_before_the_audit_and_the_audit_sees_it(harness: Harness) -> None:
    seen: list[bytes] = []
    inner = harness.data._audit

    def audit(key: str, body: bytes) -> Result:
        if "video_01" in key and key.endswith(".mp4"):
            seen.append(body)
        assert inner is not None
        return inner(key, body)

    harness.data._audit = audit
    run = await order(harness, labels())
    await harness.drain()
    body = await shown(harness, run)
    # 7% of the shorter side of 720 pixels, for three seconds.
    assert "AI生成 51 3".encode() in body
    assert set(seen) == {body}
    assert places(harness, "submit_video_label", "submit_video_audit", "create") == [
        "submit_video_audit",
        "submit_video_label",
        "submit_video_audit",
    ]
    promoted = next(n for n, place in enumerate(harness.injector.seen) if place.startswith("objects.copy output/"))
    drawn = next(n for n, place in enumerate(harness.injector.seen) if place.startswith("objects.video_label "))
    assert drawn < promoted


@pytest.mark.parametrize("given", [None, labels(visible=False)])
async def test_without_the_setting_no_job_is_made(harness: Harness, given: AiLabels | None) -> None:
    run = await order(harness, given)
    await harness.drain()
    assert "AI生成".encode() not in await shown(harness, run)
    assert places(harness, "submit_video_label", "video_label") == []
    assert not [name for name in await harness.records(run) if name.startswith("labels-")]


@pytest.mark.parametrize(
    "place",
    [
        r"objects\.submit_video_label",
        r"ledger\.put_new .*labels-0",
        r"objects\.video_label",
        r"objects\.head .*drawn",
        r"objects\.open .*drawn",
        r"objects\.put .*labelled",
        r"ledger\.put_new .*labels-1",
        r"objects\.submit_video_audit .*labelled",
        r"ledger\.put_new .*audits-audit-0",
    ],
)
@pytest.mark.parametrize("done", [False, True])
async def test_a_crash_anywhere_costs_no_second_job(harness: Harness, place: str, *, done: bool) -> None:
    run = await outlive_crash(harness, place, order(harness, labels()), done=done)
    assert "AI生成".encode() in await shown(harness, run)
    # A call that never left this process is made again.
    assert places(harness, "submit_video_label").count("submit_video_label") == 1 + (
        "submit_video_label" in place and not done
    )


async def test_a_job_that_fails_is_replaced(harness: Harness) -> None:
    harness.injector.strike(r"objects\.video_label", *[raises(LabelDown("failed"))] * 4)
    run = await order(harness, labels())
    await harness.drain()
    await harness.promise(run, "success")
    assert len(places(harness, "submit_video_label")) == 3


@pytest.mark.parametrize("error", [LabelDown("the service is not opened"), ObjectsDown("503"), Denied("a right")])
async def test_a_service_that_is_down_is_waited_for_and_nothing_is_paid_again(
    harness: Harness, error: LabelDown | ObjectsDown
) -> None:
    harness.injector.strike(r"objects\.submit_video_label", *[raises(error)] * 7)
    run = await order(harness, labels())
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1
    if isinstance(error, LabelDown):
        waits = [name for name in await harness.records(run) if name.startswith("waits-audit-")]
        stored = await harness.ledger.read(run, Waits.at("audit", int(waits[0].rpartition("-")[2])))
        assert stored is not None
        assert stored.record.why == "LabelDown"


async def test_a_job_that_never_ends_is_refunded_at_the_deadline(harness: Harness) -> None:
    run = await order(harness, labels())
    await harness.pass_by("audit")
    harness.injector.strike(r"objects\.video_label", *[raises(LabelDown("failed"))] * 10_000)
    await harness.drain()
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert not [place for place in harness.injector.seen if place.startswith("objects.copy output/")]
    assert 5 < len(places(harness, "submit_video_label")) < 10


async def test_a_result_that_broke_off_is_never_shown_and_refunded_at_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, drawn = ScriptedVideos.still, ScriptedVideos.labelled
    broken = b"broken off"
    monkeypatch.setattr(ScriptedVideos, "still", lambda self, body, at_s: played(self, body + broken, at_s))
    monkeypatch.setattr(ScriptedVideos, "labelled", lambda self, body, label: drawn(self, body + broken, label))
    run = await order(harness, labels())
    began = harness.now()
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert harness.now() - began < 600
    assert not [place for place in harness.injector.seen if place.startswith("objects.copy output/")]


async def test_the_finding_on_the_labelled_file_decides(harness: Harness) -> None:
    def audit(key: str, body: bytes) -> Result:
        return Result(violation="AI生成".encode() in body, suspect=False, label="Porn", score=99)

    harness.data._audit = audit
    run = await order(harness, labels())
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert not [place for place in harness.injector.seen if place.startswith("objects.copy output/")]


async def test_letters_are_as_large_as_the_service_draws_them(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedVideos, "info", lambda *_: VideoInfo("h264", 2160, 3840, 4.0))
    run = await order(harness, labels())
    await harness.drain()
    assert "AI生成 100 3".encode() in await shown(harness, run)


@pytest.mark.parametrize(("seconds", "labelled_s"), [(2.0416667, "2.041"), (3.0, "3"), (60.0, "3"), (0.0, "3")])
async def test_the_label_does_not_end_after_the_video(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, seconds: float, labelled_s: str
) -> None:
    monkeypatch.setattr(ScriptedVideos, "info", lambda *_: VideoInfo("h264", 720, 1280, seconds))
    # The person is a picture: a video of unknown length is not taken.
    run = await order(harness, labels(), buy(harness, photo(), "person.png"))
    await harness.drain()
    assert f"AI生成 51 {labelled_s}".encode() in await shown(harness, run)


async def test_a_large_video_has_time_to_be_copied_with_its_label(harness: Harness) -> None:
    async def slow() -> None:
        await asyncio.sleep(150.0)

    harness.injector.strike(r"objects\.put .*labelled", slow)
    run = await order(harness, labels())
    await harness.drain()
    await harness.promise(run, "success")
    assert len([place for place in harness.injector.seen if re.match(r"objects\.put .*labelled", place)]) == 1
