"""CI's answers about videos, as the SDK parses their XML."""

from __future__ import annotations

from typing import Any

import pytest

from services.errors import AuditDown, BadVideo, LabelDown
from services.objects._answers import media_ended_of, media_job_of, video_audit_of, video_info_of, video_job_of
from services.objects._media import label_job
from services.objects.port import VideoLabel

STREAM: dict[str, Any] = {"CodecName": "H264", "Width": "720", "Height": "1280", "Duration": "4.500000"}


def info(stream: Any, duration: Any = "4.6") -> dict[str, Any]:
    return {"MediaInfo": {"Stream": {"Video": stream}, "Format": {"Duration": duration}}}


@pytest.mark.parametrize(
    ("result", "seconds"),
    [
        (info(STREAM), 4.5),
        (info([STREAM, STREAM]), 4.5),
        ({"MediaInfo": [info(STREAM)["MediaInfo"]]}, 4.5),
        (info({**STREAM, "Duration": None}), 4.6),
        (info({**STREAM, "Duration": "N/A"}, None), 0.0),
        (info({**STREAM, "Duration": "-1"}, "1e300"), 0.0),
    ],
)
def test_the_first_video_stream_counts(result: dict[str, Any], seconds: float) -> None:
    found = video_info_of("k", result)
    assert (found.codec, found.width, found.height, found.seconds) == ("h264", 720, 1280, seconds)


@pytest.mark.parametrize(
    "result",
    [
        {"MediaInfo": None},
        {"MediaInfo": {"Stream": None, "Format": {}}},
        {"MediaInfo": {"Stream": {"Audio": {}}, "Format": None}},
        info({**STREAM, "Width": "0"}),
        info({"CodecName": "h264"}),
    ],
)
def test_a_file_without_a_picture_is_no_video(result: dict[str, Any]) -> None:
    with pytest.raises(BadVideo):
        video_info_of("k", result)


def test_an_answer_about_something_else_is_no_answer() -> None:
    with pytest.raises(KeyError):
        video_info_of("k", {"Other": {}})


def test_a_submission_without_a_job_is_an_audit_that_is_down() -> None:
    assert video_job_of("k", {"JobsDetail": {"JobId": "av1", "State": "Submitted"}}) == "av1"
    for result in ({}, {"JobsDetail": None}, {"JobsDetail": {"Code": "InternalError"}}):
        with pytest.raises(AuditDown) as caught:
            video_job_of("k", result)
        assert caught.value.key == "k"


@pytest.mark.parametrize("state", ["Submitted", "Snapshoting", "Auditing"])
def test_a_job_at_work_has_no_finding_yet(state: str) -> None:
    assert video_audit_of("av1", {"JobsDetail": {"State": state, "Result": None}}) is None


@pytest.mark.parametrize(
    ("result", "violation", "suspect"), [("0", False, False), ("1", True, False), ("2", False, True)]
)
def test_a_finding(result: str, violation: bool, suspect: bool) -> None:  # noqa: FBT001 - expectations
    row = {"State": "Success", "Code": "Success", "Result": result, "Label": "Porn"}
    found = video_audit_of("av1", {"JobsDetail": row})
    assert found is not None
    assert (found.violation, found.suspect, found.label) == (violation, suspect, "Porn")


@pytest.mark.parametrize(
    "row",
    [{}, {"State": "Failed", "Code": "X"}, {"State": "Success"}, {"State": "Success", "Result": "3"}, {"State": "New"}],
)
def test_anything_else_is_never_a_pass(row: dict[str, Any]) -> None:
    with pytest.raises(AuditDown):
        video_audit_of("av1", {"JobsDetail": row})


def test_a_submission_without_a_media_job_is_a_label_that_is_down() -> None:
    assert media_job_of("k", {"JobsDetail": [{"JobId": "j1", "State": "Submitted"}]}) == "j1"
    for result in ({}, {"JobsDetail": None}, {"JobsDetail": {"Code": "InternalError"}}):
        with pytest.raises(LabelDown):
            media_job_of("k", result)


@pytest.mark.parametrize("state", ["Submitted", "Running", "Pause"])
def test_a_media_job_at_work_has_not_ended(state: str) -> None:
    assert media_ended_of("j1", {"JobsDetail": {"State": state}}) is False


def test_a_media_job_that_succeeded_has_ended() -> None:
    assert media_ended_of("j1", {"JobsDetail": [{"State": "Success", "Code": "Success"}]}) is True


@pytest.mark.parametrize(
    "result",
    [{}, {"NonExistJobIds": "j1"}, *({"JobsDetail": {"State": state}} for state in ("Failed", "Cancel", "New", None))],
)
def test_any_other_media_job_has_no_result(result: dict[str, Any]) -> None:
    with pytest.raises(LabelDown):
        media_ended_of("j1", result)


@pytest.mark.parametrize("letters", [5, 16, 51, 100])
def test_the_words_are_white_over_a_dark_copy_for_the_first_seconds(letters: int) -> None:
    output = {"Region": "r", "Bucket": "b-1", "Object": "out.mp4"}
    job = label_job("in.mp4", output, VideoLabel("AI生成", letters, 3.0))
    assert (job["Tag"], job["Input"], job["Operation"]["Output"]) == ("Transcode", {"Object": "in.mp4"}, output)
    dark, white = job["Operation"]["Watermark"]
    assert (dark["Text"]["FontColor"], white["Text"]["FontColor"]) == ("0x000000", "0xFFFFFF")
    for mark in (dark, white):
        assert (mark["StartTime"], mark["EndTime"], mark["Pos"], mark["Type"]) == ("0", "3", "TopLeft", "Text")
        assert (mark["Text"]["Text"], mark["Text"]["FontSize"]) == ("AI生成", str(letters))
    assert 0 < int(dark["Dx"]) - int(white["Dx"]) < letters / 4
