"""Verbs of CI for the content audit: one stored picture, a batch, or a text.

Source: Tencent CI, "Image auditing" (document 460/37318): up to 100 pictures in a batch; an element may fail alone. The
stand-in audits synchronously, and only stored objects. "Text auditing" (document 460/56285): base64 of at most 10,000
characters is answered at once.
"""

from __future__ import annotations

import base64
import binascii
import uuid

from sandbox.cos.ci.audit import LARGE_IMAGE_BYTES, Verdict, judge, judge_text
from sandbox.cos.ci.pictures import examine
from sandbox.cos.ci.requests import load_picture, on_pixels
from sandbox.cos.errors import Refused
from sandbox.cos.http.wire import Answer, CosRequest, xml_answer
from sandbox.cos.http.xml import Element, Node, parse, text_of
from sandbox.cos.objects import iso_time, refuse_unknown_headers
from sandbox.cos.service import Service

__all__ = ["MAX_AUDITS", "MAX_TEXT", "audit_batch", "audit_one", "audit_text"]

MAX_AUDITS = 100
"""Pictures of one batch."""
MAX_TEXT = 10_000
"""Characters of a text."""

_INPUT_FIELDS = frozenset(("Object", "DataId", "LargeImageDetect"))
_TEXT_FIELDS = frozenset(("Content", "DataId"))
_CONF_FIELDS = frozenset(("BizType", "DetectType", "Async"))
_SCENES = {
    "porn": "PornInfo",
    "terrorist": "TerroristInfo",  # spelling of the bucket's host
    "terrorism": "TerrorismInfo",  # spelling of batches
    "politics": "PoliticsInfo",
    "ads": "AdsInfo",
    "illegal": "IllegalInfo",
    "abuse": "AbuseInfo",
    "teenager": "TeenagerInfo",
}


async def _audit(service: Service, bucket: str, key: str, *, large: bool) -> Verdict:
    entry, data = await load_picture(service, bucket, key)
    if len(data) > LARGE_IMAGE_BYTES and not large:
        raise Refused(400, "ImageTooLarge", "Above 5 MB a picture needs large-image-detect.")
    picture = await on_pixels(service, examine, data)
    return judge(service.audit, key=key, etag=entry.etag, headers=entry.headers, picture=picture)


async def audit_one(service: Service, request: CosRequest) -> Answer:
    """GET ?ci-process=sensitive-content-recognition."""
    refuse_unknown_headers(request)
    scenes = _read_scenes(request.param("detect-type"))
    verdict = await _audit(service, request.bucket, request.key, large=request.param("large-image-detect") == "1")
    node = [("JobId", f"si{uuid.uuid4().hex}"), ("State", "Success"), ("Object", request.key)]
    return xml_answer("RecognitionResult", [*node, ("DataId", request.param("dataid")), *_findings(verdict, scenes)])


def _read_scenes(listed: str) -> list[str]:
    scenes = [scene.strip().lower() for scene in listed.split(",")] if listed else ["porn", "ads"]
    if not set(scenes) <= _SCENES.keys():
        raise Refused(400, "InvalidArgument", "Unknown detect-type.")
    return scenes


def _findings(verdict: Verdict, scenes: list[str]) -> list[tuple[str, Node]]:
    found: list[tuple[str, Node]] = [
        ("CompressionResult", 0),
        ("Result", verdict.result),
        ("Label", verdict.label),
        ("Category", ""),
        ("SubLabel", ""),
        ("Score", verdict.score),
        ("Text", ""),
    ]
    for scene in scenes:
        hit = verdict.result and verdict.label.lower() == scene
        info: Node = [
            ("Code", 0),
            ("Msg", "OK"),
            ("HitFlag", verdict.result if hit else 0),
            ("Score", verdict.score if hit else 0),
            ("Label", ""),
            ("Category", ""),
            ("SubLabel", ""),
        ]
        found.append((_SCENES[scene], info))
    return found


async def audit_batch(service: Service, request: CosRequest) -> Answer:
    """POST /image/auditing: many stored pictures at once; a failure affects one picture only."""
    refuse_unknown_headers(request)
    document = parse(await request.read(), "Request")
    conf = document.find("Conf")
    scenes = _check_conf(conf) if conf is not None else _read_scenes("")
    inputs = document.findall("Input")
    if len(document) != len(inputs) + (conf is not None) or not 0 < len(inputs) <= MAX_AUDITS:
        raise Refused(400, "InvalidArgument", f"A batch has 1 to {MAX_AUDITS} Inputs and at most one Conf.")
    for item in inputs:
        if not {child.tag for child in item} <= _INPUT_FIELDS or not text_of(item, "Object"):
            raise Refused(
                400, "InvalidArgument", "The stand-in audits stored objects: Object, DataId, LargeImageDetect."
            )
    details: list[tuple[str, Node]] = [
        ("JobsDetail", await _audit_input(service, request, item, scenes)) for item in inputs
    ]
    return xml_answer("Response", [*details, ("RequestId", request.request_id)])


async def audit_text(service: Service, request: CosRequest) -> Answer:
    """POST /text/auditing: a text in the request, answered at once."""
    refuse_unknown_headers(request)
    document = parse(await request.read(), "Request")
    given, conf = document.find("Input"), document.find("Conf")
    scenes = _check_conf(conf) if conf is not None else _read_scenes("")
    if given is None or len(document) != 1 + (conf is not None) or not {child.tag for child in given} <= _TEXT_FIELDS:
        raise Refused(400, "InvalidArgument", "The stand-in audits one Input with Content and DataId, and one Conf.")
    try:
        text = base64.b64decode(text_of(given, "Content"), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused(400, "InvalidArgument", "Content must be base64 of UTF-8.") from error
    if not 0 < len(text) <= MAX_TEXT:
        raise Refused(400, "InvalidArgument", f"A text has 1 to {MAX_TEXT} characters.")
    job: list[tuple[str, Node]] = [
        ("JobId", f"st{uuid.uuid4().hex}"),
        ("State", "Success"),
        ("CreationTime", iso_time(service.clock())),
        ("DataId", text_of(given, "DataId")),
        ("SectionCount", 1),
    ]
    detail = [*job, *_findings(judge_text(service.audit, text), scenes)]
    return xml_answer("Response", [("JobsDetail", detail), ("RequestId", request.request_id)])


def _check_conf(conf: Element) -> list[str]:
    if not {child.tag for child in conf} <= _CONF_FIELDS or text_of(conf, "Async") not in {"", "0"}:
        raise Refused(400, "InvalidArgument", "The stand-in audits at once: BizType, DetectType, Async 0.")
    return _read_scenes(text_of(conf, "DetectType"))


async def _audit_input(service: Service, request: CosRequest, item: Element, scenes: list[str]) -> Node:
    key = item.findtext("Object") or ""
    named: list[tuple[str, Node]] = [("DataId", text_of(item, "DataId")), ("Object", key)]
    try:
        verdict = await _audit(service, request.bucket, key, large=text_of(item, "LargeImageDetect") == "1")
    except Refused as refused:
        return [("Code", refused.code), ("Message", refused.message), ("State", "Failed"), *named]
    job: list[tuple[str, Node]] = [
        ("JobId", f"si{uuid.uuid4().hex}"),
        ("State", "Success"),
        ("CreationTime", iso_time(service.clock())),
    ]
    return [*job, *named, *_findings(verdict, scenes)]
