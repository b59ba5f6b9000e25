"""Videos on every store: facts, stills, and the audit, which takes its time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from sandbox.video import encode, frame_at, probe
from services.errors import AuditDown, BadVideo, LabelDown, NotFound
from services.objects.port import VideoLabel


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second of video, red first and green then."""
    path: Path = tmp_path_factory.mktemp("video") / "v.mp4"
    encode((Image.new("RGB", (64, 48), "red" if n < 12 else "lime") for n in range(24)), path)
    return path.read_bytes()


async def test_the_facts_of_a_video(harness: Any, video: bytes) -> None:
    await harness.objects.put(key := harness.key("a video.mp4"), video)
    found = await harness.objects.video_info(key)
    assert (found.codec, found.width, found.height) == ("h264", 64, 48)
    assert found.seconds == pytest.approx(1.0, abs=0.05)


async def test_a_still_is_the_picture_of_its_time(harness: Any, video: bytes) -> None:
    await harness.objects.put(key := harness.key("v.mp4"), video)
    for at_s, colour in ((0.1, (254, 0, 0)), (0.9, (0, 255, 0))):
        made = await harness.objects.snapshot(key, harness.key("still.jpg"), at_s=at_s)
        stored = await harness.objects.get(made.key)
        assert (stored.info.etag, stored.info.content_type) == (made.etag, "image/jpeg")
        with Image.open(io.BytesIO(stored.body)) as still:
            assert still.size == (64, 48)
            assert all(abs(one - other) < 40 for one, other in zip(still.getpixel((9, 9)), colour, strict=True))


@pytest.mark.parametrize("body", [b"no video at all", b"", b"\0\0\0\x18ftypmp42 and nothing else"])
async def test_what_is_no_video_is_said_so(harness: Any, body: bytes) -> None:
    await harness.objects.put(key := harness.key("v.mp4"), body)
    with pytest.raises(BadVideo):
        await harness.objects.video_info(key)
    with pytest.raises(BadVideo):
        await harness.objects.snapshot(key, harness.key("still.jpg"))


async def test_half_a_video_is_none(harness: Any, video: bytes) -> None:
    await harness.objects.put(key := harness.key("v.mp4"), video[: len(video) // 3])
    with pytest.raises(BadVideo):
        await harness.objects.snapshot(key, harness.key("still.jpg"), at_s=0.9)


async def test_a_picture_is_no_video(harness: Any, photo: bytes) -> None:
    await harness.objects.put(key := harness.key("v.mp4"), photo)
    with pytest.raises(BadVideo):
        await harness.objects.video_info(key)


async def test_a_video_that_is_not_there(harness: Any) -> None:
    for ask in (harness.objects.video_info, lambda key: harness.objects.snapshot(key, "still.jpg")):
        with pytest.raises(NotFound):
            await ask(harness.key("nothing.mp4"))


@pytest.mark.parametrize(("name", "finding"), [("v.mp4", (False, False)), ("violation.mp4", (True, False))])
async def test_an_audit_works_for_a_while_and_then_has_a_finding(
    harness: Any, video: bytes, name: str, finding: tuple[bool, bool]
) -> None:
    await harness.objects.put(key := harness.key(name), video)
    job = await harness.objects.submit_video_audit(key)
    assert await harness.objects.video_audit(job) is None
    harness.pass_time(60.0)
    found = await harness.objects.video_audit(job)
    assert (found.violation, found.suspect) == finding
    assert await harness.objects.video_audit(job) == found


async def test_each_submission_is_a_job_of_its_own(harness: Any, video: bytes) -> None:
    await harness.objects.put(key := harness.key("v.mp4"), video)
    jobs = [await harness.objects.submit_video_audit(key) for _ in range(2)]
    assert len(set(jobs)) == 2


async def test_an_unknown_job_has_no_finding(harness: Any) -> None:
    with pytest.raises(AuditDown):
        await harness.objects.video_audit("av0123")


async def test_a_job_that_fails_has_no_finding(cos_world: Any, video: bytes) -> None:
    await cos_world.objects.put(key := cos_world.key("v.mp4"), video)
    cos_world.service.audit.video_failures = 1
    job = await cos_world.objects.submit_video_audit(key)
    cos_world.pass_time(60.0)
    with pytest.raises(AuditDown, match="AuditingFailed"):
        await cos_world.objects.video_audit(job)


async def test_the_stand_in_judges_what_a_video_shows(cos_world: Any, video: bytes) -> None:
    await cos_world.objects.put(key := cos_world.key("v.mp4"), video)
    cos_world.service.audit.violating_colour = "0x00ff00"
    try:
        job = await cos_world.objects.submit_video_audit(key)
    finally:
        cos_world.service.audit.violating_colour = ""
    cos_world.pass_time(60.0)
    assert (await cos_world.objects.video_audit(job)).violation


LABEL = VideoLabel("AI生成", 16, 0.5)


async def test_a_label_is_drawn_over_the_first_seconds_by_a_job_that_takes_its_time(harness: Any, video: bytes) -> None:
    await harness.objects.put(key := harness.key("v.mp4"), video)
    job = await harness.objects.submit_video_label(key, target := harness.key("drawn.mp4"), LABEL)
    assert await harness.objects.video_label(job) is False
    harness.pass_time(60.0)
    assert await harness.objects.video_label(job) is True
    made = (await harness.objects.get(target)).body
    found = probe(io.BytesIO(made))
    assert (found.codec, found.width, found.height, found.frames) == ("h264", 64, 48, 24)
    for at_s, is_seen in ((0.0, True), (0.4, True), (0.6, False), (0.9, False)):
        frames = [frame_at(io.BytesIO(body), at_s).convert("L") for body in (video, made)]
        darkest, lightest = ImageChops.difference(*frames).getextrema()
        assert darkest < 20
        assert (lightest > 60) is is_seen, at_s
    # The first one stays as it was.
    assert (await harness.objects.get(key)).body == video


async def test_a_label_over_no_video_is_a_job_that_fails(harness: Any, video: bytes) -> None:
    for name, body in (("none.mp4", b"no video at all"), ("half.mp4", video[: len(video) // 3])):
        await harness.objects.put(key := harness.key(name), body)
        job = await harness.objects.submit_video_label(key, harness.key("drawn.mp4"), LABEL)
        harness.pass_time(60.0)
        with pytest.raises(LabelDown):
            await harness.objects.video_label(job)
        with pytest.raises(NotFound):
            await harness.objects.head(harness.key("drawn.mp4"))


async def test_an_unknown_job_of_a_label_is_said_so(harness: Any) -> None:
    with pytest.raises(LabelDown):
        await harness.objects.video_label("j0123")


async def test_the_stand_in_fails_jobs_of_labels_as_it_is_asked_to(cos_world: Any, video: bytes) -> None:
    await cos_world.objects.put(key := cos_world.key("v.mp4"), video)
    cos_world.service.audit.label_failures = 1
    job = await cos_world.objects.submit_video_label(key, cos_world.key("drawn.mp4"), LABEL)
    cos_world.pass_time(60.0)
    with pytest.raises(LabelDown, match="InputFileBroken"):
        await cos_world.objects.video_label(job)


async def test_a_job_that_the_service_does_not_take_is_waited_for(cos_world: Any, video: bytes) -> None:
    """Letters above the service's limit, or an end after the video's, represent any lack of its bucket or our role."""
    await cos_world.objects.put(key := cos_world.key("v.mp4"), video)
    for label in (VideoLabel("AI生成", 101, 1.0), VideoLabel("AI生成", 16, 1.5)):
        with pytest.raises(LabelDown, match="400 InvalidArgument"):
            await cos_world.objects.submit_video_label(key, cos_world.key("drawn.mp4"), label)
