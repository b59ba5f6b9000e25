"""Verbs of CI for media jobs: a transcoding that draws texts over a video.

Source: Tencent CI, "Submitting transcoding job" (document 436/85032), "Creating watermark template" (436/84985),
"Querying job" (436/47211): states Submitted, Running, Success and Failed; unknown ids are listed in NonExistJobIds.
Undocumented, so chosen here: the file's metadata is lost; the result is stored a little before the job says so.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL.Image import Image

from sandbox.cos.ci.videos import MediaJob
from sandbox.cos.ci.watermarks import Watermark, draw
from sandbox.cos.errors import Refused
from sandbox.cos.http.wire import Answer, CosRequest, xml_answer
from sandbox.cos.http.xml import Element, Node, parse, text_of
from sandbox.cos.objects import iso_time, refuse_unknown_headers
from sandbox.cos.service import Service
from sandbox.cos.store import Blob, Store
from sandbox.video import NoVideo, encoded, probe, timed_frames

__all__ = ["MEDIA_JOBS", "MEDIA_PREFIX", "TimedText", "draw_texts", "query_job", "submit_job"]

MEDIA_JOBS: Final = "jobs"
"""Path of a new job."""
MEDIA_PREFIX: Final = "jobs/"
"""Beginning of the path of a job."""

_MOST_TEXTS: Final = 3
_MOST_OFFSET: Final = 4096
_LETTERS: Final = (5, 100)
_FONTS: Final = frozenset({"simfang.ttf", "simhei.ttf", "simkai.ttf", "simsun.ttc"})
_MARK: Final = frozenset(("Type", "Pos", "LocMode", "Dx", "Dy", "StartTime", "EndTime", "Text"))
_TEXT: Final = frozenset(("Text", "FontSize", "FontType", "FontColor", "Transparency"))
_GRAVITY: Final = {
    "TopLeft": "northwest",
    "TopRight": "northeast",
    "BottomLeft": "southwest",
    "BottomRight": "southeast",
}


@dataclass(frozen=True, slots=True)
class TimedText:
    """Text over a part of a video."""

    mark: Watermark
    begins: float
    """Seconds from the beginning of the video."""
    ends: float


async def submit_job(service: Service, request: CosRequest) -> Answer:
    """POST /jobs."""
    refuse_unknown_headers(request)
    document = parse(await request.read(), "Request")
    given, operation = document.find("Input"), document.find("Operation")
    if text_of(document, "Tag") != "Transcode" or given is None or operation is None:
        raise Refused(400, "InvalidArgument", "The stand-in knows the Tag Transcode, with one Input and one Operation.")
    texts, target = _texts(operation), _target(service, request, operation)
    key, now, rules = text_of(given, "Object"), service.clock(), service.audit
    _, file = await service.run(service.store.open, request.bucket, key)
    blob = await service.run_pixels(_transcoded, service.store, file, texts)
    if rules.label_failures:
        rules.label_failures -= 1
        blob = None
    if blob is not None:
        entry = await service.run(service.store.put, request.bucket, target, blob, {"content-type": "video/mp4"})
        service.announce(request, entry, "Put")
    job = MediaJob(f"j{uuid.uuid4().hex}", request.bucket, key, target, now, now + rules.label_s, failed=blob is None)
    service.media_jobs[job.id] = job
    return xml_answer("Response", [("JobsDetail", _detail(job, "Submitted")), ("RequestId", request.request_id)])


def _texts(operation: Element) -> tuple[TimedText, ...]:
    marks = operation.findall("Watermark")
    form = (operation.findtext("Transcode/Container/Format"), operation.findtext("Transcode/Video/Codec"))
    if form != ("mp4", "H.264") or not 0 < len(marks) <= _MOST_TEXTS:
        raise Refused(400, "InvalidArgument", f"The stand-in makes H.264 in mp4, with 1 to {_MOST_TEXTS} Watermarks.")
    return tuple(_text(mark) for mark in marks)


def _text(node: Element) -> TimedText:
    text = node.find("Text")
    if text is None or not {child.tag for child in node} <= _MARK or not {child.tag for child in text} <= _TEXT:
        raise Refused(400, "InvalidArgument", "A Watermark of the stand-in is a Text.")
    gravity = _GRAVITY.get(text_of(node, "Pos"), "")
    words, color, font = (text_of(text, name) for name in ("Text", "FontColor", "FontType"))
    known = text_of(node, "Type") == "Text" and text_of(node, "LocMode") == "Absolute" and font in _FONTS
    if not known or not gravity or not 0 < len(words) <= 64 or not color.startswith("0x"):  # noqa: PLR2004
        raise Refused(400, "InvalidArgument", "Watermark: Type, Pos, LocMode, or a field of its Text.")
    mark = Watermark(
        text=words,
        size=int(_number(text, "FontSize", *_LETTERS)),
        fill=f"#{color.removeprefix('0x')}",
        dissolve=int(_number(text, "Transparency", 1, 100)),
        gravity=gravity,
        dx=int(_number(node, "Dx", 0, _MOST_OFFSET)),
        dy=int(_number(node, "Dy", 0, _MOST_OFFSET)),
    )
    return TimedText(mark, _number(node, "StartTime", 0, 1e6), _number(node, "EndTime", 0, 1e6))


def _number(node: Element, name: str, least: float, most: float) -> float:
    try:
        number = float(text_of(node, name))
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise Refused(400, "InvalidArgument", f"{name} is a number from {least:g} to {most:g}.")
    return number


def _target(service: Service, request: CosRequest, operation: Element) -> str:
    found = [operation.findtext(f"Output/{name}", "") for name in ("Region", "Bucket", "Object")]
    if found[:2] != [service.region, request.bucket] or not found[2]:
        raise Refused(400, "InvalidArgument", "Output: the stand-in stores results in the bucket of the video.")
    return found[2]


def draw_texts(source: BinaryIO, texts: tuple[TimedText, ...]) -> bytes:
    """Return a video with texts over parts of it, and without its metadata and sound.

    Raises:
        NoVideo: it cannot be played to its end.
    """

    def frames() -> Iterator[Image]:
        for seconds, image in timed_frames(source):
            drawn = image
            for text in texts:
                if text.begins <= seconds < text.ends:
                    drawn = draw(drawn, text.mark)
            yield drawn

    rate = round(probe(source).rate) or 1
    source.seek(0)
    return encoded(frames(), rate=rate)


def _transcoded(store: Store, file: BinaryIO, texts: tuple[TimedText, ...]) -> Blob | None:
    """Return the stored result, and close the file; None for no video."""
    with file:
        try:
            last, seconds = max(text.ends for text in texts), probe(file).seconds
            file.seek(0)
            # By a millisecond, to which times are accurate.
            if last > seconds + 0.001:
                raise Refused(400, "InvalidArgument", "EndTime is at most the length of the video.")
            made = draw_texts(file, texts)
        except NoVideo:
            return None
    return store.writer().finish(made)


async def query_job(service: Service, request: CosRequest) -> Answer:
    """GET /jobs/JOB."""
    refuse_unknown_headers(request)
    name = request.key.removeprefix(MEDIA_PREFIX)
    job = service.media_jobs.get(name)
    if job is None or job.bucket != request.bucket:
        return xml_answer("Response", [("NonExistJobIds", name), ("RequestId", request.request_id)])
    detail = _detail(job, job.state(service.clock()))
    return xml_answer("Response", [("JobsDetail", detail), ("RequestId", request.request_id)])


def _detail(job: MediaJob, state: str) -> list[tuple[str, Node]]:
    failed = state == "Failed"
    return [
        ("Code", "InputFileBroken" if failed else "Success"),
        ("Message", "The file could not be transcoded." if failed else "Success"),
        ("JobId", job.id),
        ("State", state),
        ("CreationTime", iso_time(job.created)),
        ("Tag", "Transcode"),
        ("Input", [("Object", job.key)]),
        ("Operation", [("Output", [("Bucket", job.bucket), ("Object", job.target)])]),
    ]
