"""Verbs of CI for pictures: processing on upload, on download, or of stored objects.

Source: Tencent CI, "Persistent processing" and "Basic image processing".
Undocumented, so chosen here: a picture that cannot be processed gets 400 InvalidImageFormat, an unknown rule 400
InvalidArgument; the results of one request are stored all or none; an upload whose rules fail stays stored.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from typing import BinaryIO, Literal, TypeVar

import msgspec

from sandbox.cos.ci.ai_labels import label_in
from sandbox.cos.ci.pictures import MAX_BYTES, Examined, Picture, describe, examine, process, quality_of
from sandbox.cos.errors import BadPicture, Refused, UnknownOperation
from sandbox.cos.http.wire import Answer, CosRequest, xml_answer
from sandbox.cos.http.xml import Node
from sandbox.cos.objects import check_conditions, etag_of, put_object, refuse_unknown_headers
from sandbox.cos.service import Service
from sandbox.cos.store import Blob, Entry, Store

__all__ = [
    "MAX_RULES",
    "cut_out",
    "get_processed",
    "image_process",
    "label_answer",
    "label_of",
    "load_picture",
    "on_pixels",
    "put_processed",
    "read_operations",
]

MAX_RULES = 5
"""Rules of one Pic-Operations header."""

T = TypeVar("T")


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fileid: str
    rule: str
    bucket: str = ""


class _Operations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: tuple[_Rule, ...] = ()
    is_pic_info: Literal[0, 1] = 0


def read_operations(header: str, *, bucket: str, key: str) -> tuple[bool, list[tuple[str, str]]]:
    """Parse a Pic-Operations header: describe the original or not, and (key, rule) of each result.

    Raises:
        Refused: 400 InvalidArgument: an unknown field or value.
    """
    try:
        found = msgspec.json.decode(header, type=_Operations)
    except msgspec.DecodeError as error:
        raise Refused(400, "InvalidArgument", f"Pic-Operations: {error}") from error
    if len(found.rules) > MAX_RULES:
        raise Refused(400, "InvalidArgument", f"Pic-Operations has at most {MAX_RULES} rules.")
    if any(rule.bucket not in {"", bucket} for rule in found.rules):
        raise Refused(400, "InvalidArgument", "The stand-in stores results in the bucket of the original.")
    if not all(rule.fileid.strip("/") and rule.rule for rule in found.rules):
        raise Refused(400, "InvalidArgument", "A rule needs a fileid and a rule.")
    return bool(found.is_pic_info), [(_target(rule.fileid, key), rule.rule) for rule in found.rules]


def _target(fileid: str, key: str) -> str:
    """Resolve a fileid: from the bucket's root if it has a leading slash, else beside the original."""
    return fileid[1:] if fileid.startswith("/") else posixpath.join(posixpath.dirname(key), fileid)


async def put_processed(service: Service, request: CosRequest) -> Answer:
    """PUT with Pic-Operations: store, then process."""
    describe, rules = read_operations(request.headers["pic-operations"], bucket=request.bucket, key=request.key)
    entry = await put_object(service, request)
    return await _process_stored(service, request, entry, describe=describe, rules=rules)


async def image_process(service: Service, request: CosRequest) -> Answer:
    """POST ?image_process: process a stored object."""
    refuse_unknown_headers(request)
    describe, rules = read_operations(request.headers.get("pic-operations", ""), bucket=request.bucket, key=request.key)
    if await request.read():
        raise Refused(400, "InvalidArgument", "image_process has no body.")
    entry = await service.run(service.store.find, request.bucket, request.key)
    return await _process_stored(service, request, entry, describe=describe, rules=rules)


async def _process_stored(
    service: Service, request: CosRequest, entry: Entry, *, describe: bool, rules: list[tuple[str, str]]
) -> Answer:
    _, data = await load_picture(service, request.bucket, request.key)
    pictures = [(key, await on_pixels(service, process, data, rule)) for key, rule in rules]
    original: list[tuple[str, Node]] = [
        ("Key", entry.key),
        ("Location", service.location(request.bucket, entry.key)),
        ("ETag", etag_of(entry)),
    ]
    if describe:
        original.append(("ImageInfo", _image_info(await on_pixels(service, examine, data))))
    results: list[tuple[str, Node]] = [
        ("Object", await _store_result(service, request, key, picture)) for key, picture in pictures
    ]
    node: list[tuple[str, Node]] = [("OriginalInfo", original), ("ProcessResults", results)]
    return xml_answer("UploadResult", node, [("ETag", etag_of(entry))])


async def _store_result(service: Service, request: CosRequest, key: str, picture: Picture) -> Node:
    blob = await service.run(_write, service.store, picture.body)
    headers = {"content-type": f"image/{picture.format}"}
    entry = await service.run(service.store.put, request.bucket, key, blob, headers)
    service.announce(request, entry, "Put")
    return [
        ("Key", key),
        ("Location", service.location(request.bucket, key)),
        ("Format", picture.format.upper()),
        ("Width", picture.width),
        ("Height", picture.height),
        ("Size", len(picture.body)),
        ("Quality", await on_pixels(service, quality_of, picture.body)),
        ("ETag", etag_of(entry)),
    ]


def _write(store: Store, body: bytes) -> Blob:
    return store.writer().finish(body)


def _image_info(picture: Examined) -> Node:
    return [
        ("Format", picture.format.upper()),
        ("Width", picture.width),
        ("Height", picture.height),
        ("Quality", picture.quality),
        ("Ave", picture.average),
        ("Orientation", picture.orientation),
    ]


async def load_picture(service: Service, bucket: str, key: str) -> tuple[Entry, bytes]:
    """Load a stored object that may be a picture.

    Raises:
        Refused: 404 NoSuchKey; 400 ImageTooLarge.
    """
    entry, file = await service.run(service.store.open, bucket, key)
    data = await service.run(_read, file)
    if len(data) > MAX_BYTES:
        raise _no_picture(BadPicture(f"it has more than {MAX_BYTES} bytes", "ImageTooLarge"))
    return entry, data


def _read(file: BinaryIO) -> bytes:
    with file:
        return file.read(MAX_BYTES + 1)


async def on_pixels(service: Service, function: Callable[..., T], *args: object) -> T:
    """Run a function of `sandbox.cos.ci.pictures` in a thread.

    Raises:
        Refused: 400 InvalidImageFormat, ImageTooLarge, ImageResolutionExceed or InvalidArgument.
    """
    try:
        return await service.run_pixels(function, *args)
    except BadPicture as error:
        raise _no_picture(error) from error
    except UnknownOperation as error:
        raise Refused(400, "InvalidArgument", f"Unknown operation: {error}") from error


def _no_picture(error: BadPicture) -> Refused:
    return Refused(400, error.code, f"The picture cannot be processed: {error}")


async def get_processed(service: Service, request: CosRequest) -> Answer:
    """GET ?imageMogr2/…: the processed picture in the answer."""
    rules = [(name, value) for name, value in request.query if name.startswith("imageMogr2")]
    if len(rules) != 1 or rules[0][1]:
        raise Refused(400, "InvalidArgument", "A picture rule is one parameter without a value.")
    return await _answer_picture(service, request, rules[0][0])


async def cut_out(service: Service, request: CosRequest) -> Answer:
    """GET ?ci-process=…Matting: the subject without its background, in the answer."""
    names = ("ci-process", "center-layout", "padding-layout")
    rule = "&".join(f"{name}={request.param(name)}" for name in names if request.param(name))
    return await _answer_picture(service, request, rule)


async def label_of(service: Service, request: CosRequest) -> Answer:
    """GET ?ci-process=ImageAIGCMetadata: the label of AI-made content in a picture's metadata."""
    refuse_unknown_headers(request)
    _, data = await load_picture(service, request.bucket, request.key)
    form, _, _ = await on_pixels(service, describe, data)
    label = await on_pixels(service, label_in, data, form)
    return label_answer(label)


def label_answer(label: dict[str, str]) -> Answer:
    """Return the answer to a query for a label; an empty label is none."""
    found = json.dumps({"AIGC": label} if label else {}, ensure_ascii=False).encode()
    return Answer(200, [("Content-Type", "application/json")], found)


async def _answer_picture(service: Service, request: CosRequest, rule: str) -> Answer:
    refuse_unknown_headers(request)
    entry, data = await load_picture(service, request.bucket, request.key)
    if not check_conditions(entry, request.headers):
        return Answer(304, [("ETag", etag_of(entry))])
    picture = await on_pixels(service, process, data, rule)
    return Answer(200, [("Content-Type", f"image/{picture.format}")], picture.body)
