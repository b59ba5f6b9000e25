"""Verbs of CI for videos: facts, a still, and the audit, which is a job that is submitted and then looked at.

Source: Tencent CI, "Querying media information" (document 436/55672), "Getting a media screenshot" (436/55671),
"Submitting video moderation job" (460/46427), "Querying video moderation job result" (436/48250).
Undocumented, so chosen here: a file that is no video gets 400 InvalidVideoFormat, an unknown job 404 NoSuchJob.
"""

from __future__ import annotations

import uuid
from typing import Final

from sandbox.cos.ci.requests import label_answer, on_pixels
from sandbox.cos.ci.videos import VideoJob, describe, judge_video, still
from sandbox.cos.ci.videos import label_of as read_label
from sandbox.cos.errors import Refused
from sandbox.cos.http.wire import Answer, CosRequest, xml_answer
from sandbox.cos.http.xml import Node, parse, text_of
from sandbox.cos.objects import check_conditions, etag_of, iso_time, refuse_unknown_headers
from sandbox.cos.service import Service

__all__ = ["JOBS_PREFIX", "label_of", "query_audit", "snapshot", "submit_audit", "video_info"]

JOBS_PREFIX: Final = "video/auditing/"
"""Beginning of the path of a job."""

_MOST_FRAMES: Final = 10_000
_MOST_INTERVAL_S: Final = 60.0
_CONF: Final = frozenset(
    ("BizType", "DetectType", "DetectContent", "Snapshot", "Callback", "CallbackVersion", "CallbackType")
)
_INPUT: Final = frozenset(("Object", "DataId"))


async def video_info(service: Service, request: CosRequest) -> Answer:
    """GET ?ci-process=videoinfo."""
    refuse_unknown_headers(request)
    entry, file = await service.run(service.store.open, request.bucket, request.key)
    found = await on_pixels(service, describe, file)
    video: Node = [
        ("Index", 0),
        ("CodecName", found.codec),
        ("Width", found.width),
        ("Height", found.height),
        ("Fps", f"{found.rate:.6f}"),
        ("Duration", f"{found.seconds:.6f}"),
        ("NumFrames", found.frames),
    ]
    container: Node = [
        ("NumStream", 1),
        ("NumProgram", 0),
        ("FormatName", found.format),
        ("Duration", f"{found.seconds:.6f}"),
        ("Size", entry.size),
    ]
    return xml_answer("Response", [("MediaInfo", [("Stream", [("Video", video)]), ("Format", container)])])


async def label_of(service: Service, request: CosRequest) -> Answer:
    """GET ?ci-process=MediaAIGCMetadata: the label of AI-made content in a video's metadata (document 436/124902)."""
    refuse_unknown_headers(request)
    _, file = await service.run(service.store.open, request.bucket, request.key)
    return label_answer(await on_pixels(service, read_label, file))


async def snapshot(service: Service, request: CosRequest) -> Answer:
    """GET ?ci-process=snapshot: a still in the answer."""
    refuse_unknown_headers(request)
    image_format = request.param("format") or "jpg"
    at_s, width, height = (_number(request, name) for name in ("time", "width", "height"))
    if image_format not in {"jpg", "png"} or request.param("mode") not in {"", "exactframe", "keyframe"}:
        raise Refused(400, "InvalidArgument", "format is jpg or png, mode exactframe or keyframe.")
    entry, file = await service.run(service.store.open, request.bucket, request.key)
    if not check_conditions(entry, request.headers):
        await service.run(file.close)
        return Answer(304, [("ETag", etag_of(entry))])
    body = await on_pixels(service, still, file, at_s, (int(width), int(height)), image_format)
    return Answer(200, [("Content-Type", "image/png" if image_format == "png" else "image/jpeg")], body)


def _number(request: CosRequest, name: str) -> float:
    given = request.param(name)
    if not given and name != "time":
        return 0.0
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:  # noqa: PLR2004 - longer than any video
        raise Refused(400, "InvalidArgument", f"{name} is a number that is not negative.")
    return number


async def submit_audit(service: Service, request: CosRequest) -> Answer:
    """POST /video/auditing."""
    refuse_unknown_headers(request)
    document = parse(await request.read(), "Request")
    given, conf = document.find("Input"), document.find("Conf")
    if given is None or conf is None or not {child.tag for child in given} <= _INPUT:
        raise Refused(400, "InvalidArgument", "The stand-in audits a stored object: one Input with Object, and a Conf.")
    frames = conf.find("Snapshot")
    if (
        frames is None
        or not {child.tag for child in conf} <= _CONF
        or text_of(conf, "DetectContent") not in {"", "0", "1"}
    ):
        raise Refused(400, "InvalidArgument", "A Conf has a Snapshot, and DetectContent 0 or 1.")
    _check_frames(text_of(frames, "Mode"), text_of(frames, "Count"), text_of(frames, "TimeInterval"))
    key, now, rules = text_of(given, "Object"), service.clock(), service.audit
    entry, file = await service.run(service.store.open, request.bucket, key)
    verdict = await service.run_pixels(judge_video, file, rules, key=key, etag=entry.etag, headers=entry.headers)
    if rules.video_failures:
        rules.video_failures -= 1
        verdict = None
    job = VideoJob(
        id=f"av{uuid.uuid4().hex}",
        bucket=request.bucket,
        key=key,
        created=now,
        ends=now + rules.video_s,
        data_id=text_of(given, "DataId"),
        verdict=verdict,
    )
    service.video_jobs[job.id] = job
    detail: Node = [
        ("JobId", job.id),
        ("State", "Submitted"),
        ("CreationTime", iso_time(now)),
        ("DataId", job.data_id),
    ]
    return xml_answer("Response", [("JobsDetail", detail), ("RequestId", request.request_id)])


def _check_frames(mode: str, count: str, interval: str) -> None:
    if mode not in {"Interval", "Average", "Fps"} or not (count.isdigit() and 0 < int(count) <= _MOST_FRAMES):
        raise Refused(400, "InvalidArgument", f"Snapshot: Mode Interval, Average or Fps; Count 1 to {_MOST_FRAMES}.")
    try:
        seconds = float(interval or 1)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MOST_INTERVAL_S:
        raise Refused(400, "InvalidArgument", f"Snapshot: TimeInterval up to {_MOST_INTERVAL_S:.0f} s.")


async def query_audit(service: Service, request: CosRequest) -> Answer:
    """GET /video/auditing/JOB."""
    refuse_unknown_headers(request)
    job = service.video_jobs.get(request.key.removeprefix(JOBS_PREFIX))
    if job is None or job.bucket != request.bucket:
        raise Refused(404, "NoSuchJob", "The job does not exist.")
    state = job.state(service.clock())
    detail: list[tuple[str, Node]] = [
        ("JobId", job.id),
        ("State", state),
        ("CreationTime", iso_time(job.created)),
        ("DataId", job.data_id),
        ("Object", job.key),
    ]
    if state == "Failed":
        detail += [("Code", "AuditingFailed"), ("Message", "The file could not be audited.")]
    if state == "Success" and job.verdict is not None:
        detail += [("Code", "Success"), ("Message", "Success"), *_findings(job)]
    return xml_answer("Response", [("JobsDetail", detail), ("RequestId", request.request_id)])


def _findings(job: VideoJob) -> list[tuple[str, Node]]:
    verdict = job.verdict
    if verdict is None:
        return []
    hit = verdict.result if verdict.label == "Porn" else 0
    porn: Node = [("HitFlag", hit), ("Count", int(hit > 0))]
    ads: Node = [("HitFlag", 0), ("Count", 0)]
    frame: Node = [
        ("Url", ""),
        ("SnapshotTime", 0),
        ("Text", ""),
        ("PornInfo", [("HitFlag", hit), ("Score", verdict.score if hit else 0), ("Label", ""), ("SubLabel", "")]),
    ]
    return [
        ("SnapshotCount", 1),
        ("Label", verdict.label),
        ("Result", verdict.result),
        ("PornInfo", porn),
        ("AdsInfo", ads),
        ("Snapshot", frame),
    ]
