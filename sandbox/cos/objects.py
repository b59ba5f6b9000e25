"""Verbs of an object: PUT, copy, GET, HEAD, DELETE, tagging.

Sources: Tencent COS, "PUT Object" (document 436/7749), "GET Object" (436/7753), "PUT Object - Copy" (436/10881),
and "Object tagging". COS ignores unknown headers; the stand-in refuses unknown `x-cos-*` headers and conditions on PUT,
because a misspelled one would otherwise go unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import BinaryIO

from sandbox.cos.errors import Refused
from sandbox.cos.faults import FaultKind
from sandbox.cos.http.wire import Answer, CosRequest, xml_answer
from sandbox.cos.http.xml import parse
from sandbox.cos.service import Service, spool
from sandbox.cos.store import Entry

__all__ = [
    "RESPONSE_PARAMS",
    "check_conditions",
    "copy_object",
    "delete_object",
    "delete_tagging",
    "etag_of",
    "flag",
    "get_object",
    "get_tagging",
    "head_object",
    "iso_time",
    "parse_range",
    "put_object",
    "put_tagging",
    "refuse_unknown_headers",
    "stored_headers",
]

RESPONSE_PARAMS = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}
"""Parameters of GET that replace a header of the answer."""

_KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")
_META = "x-cos-meta-"
_MAX_META = 2048
_PIECE = 1 << 18
_SLOW_PIECE = 1 << 16
_COMMON = frozenset(("x-cos-security-token", "x-ci-security-token", "x-cos-sdk-retry"))
_OF_WRITES = frozenset(("x-cos-forbid-overwrite", "x-cos-storage-class", "x-cos-traffic-limit"))
_OF_COPIES = frozenset(
    (
        "x-cos-copy-source",
        "x-cos-metadata-directive",
        "x-cos-copy-source-if-match",
        "x-cos-copy-source-if-none-match",
    )
)
_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")


def etag_of(entry: Entry) -> str:
    """Return the ETag in quotes."""
    return f'"{entry.etag}"'


def iso_time(seconds: float) -> str:
    """Return a time in the form of COS's documents; whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def flag(request: CosRequest, name: str) -> bool:
    """Return the value of a header that is `true` or `false`.

    Raises:
        Refused: it has another value.
    """
    value = request.headers.get(name, "false")
    if value not in {"true", "false"}:
        raise Refused(400, "InvalidArgument", f"{name} is true or false.")
    return value == "true"


def refuse_unknown_headers(request: CosRequest, *, write: bool = False, copy: bool = False) -> None:
    """Refuse headers that COS would ignore.

    Raises:
        Refused: 400 InvalidArgument.
    """
    known = _COMMON | (_OF_WRITES if write or copy else frozenset()) | (_OF_COPIES if copy else frozenset())
    for name in request.headers:
        if name.startswith("x-cos-") and name not in known and not (name.startswith(_META) and (write or copy)):
            raise Refused(400, "InvalidArgument", f"{name[:100]} means nothing here.")
        if (write or copy) and name in _CONDITIONS:
            raise Refused(400, "InvalidArgument", f"{name} is no condition of a write.")


def stored_headers(request: CosRequest) -> dict[str, str]:
    """Return the headers of an upload that are stored with the object.

    Raises:
        Refused: too much metadata.
    """
    headers = {name: value for name, value in request.headers.items() if name in _KEPT or name.startswith(_META)}
    headers.setdefault("content-type", "application/octet-stream")
    if "x-cos-storage-class" in request.headers:
        headers["x-cos-storage-class"] = request.headers["x-cos-storage-class"]
    if sum(len(name) + len(value) for name, value in headers.items() if name.startswith(_META)) > _MAX_META:
        raise Refused(400, "MetadataTooLarge", "User metadata has at most 2 KB.")
    return headers


async def put_object(service: Service, request: CosRequest) -> Entry:
    """PUT: store the body."""
    refuse_unknown_headers(request, write=True)
    new = flag(request, "x-cos-forbid-overwrite")
    headers = stored_headers(request)
    if not request.key:
        raise Refused(405, "MethodNotAllowed", "Buckets are made at the start.")
    blob = await spool(service, request)
    entry = await service.run(service.store.put, request.bucket, request.key, blob, headers, new=new)
    service.announce(request, entry, "Put")
    return entry


async def copy_object(service: Service, request: CosRequest) -> Answer:
    """PUT with `x-cos-copy-source`: a copy keeps the ETag."""
    refuse_unknown_headers(request, copy=True)
    new = flag(request, "x-cos-forbid-overwrite")
    directive = request.headers.get("x-cos-metadata-directive", "Copy")
    if directive not in {"Copy", "Replaced"}:
        raise Refused(400, "InvalidArgument", "x-cos-metadata-directive is Copy or Replaced.")
    if await request.read():
        raise Refused(400, "InvalidArgument", "A copy has no body.")
    source = _copy_source(service, request)
    if source == (request.bucket, request.key) and directive == "Copy":
        raise Refused(400, "InvalidRequest", "A copy onto itself must replace the metadata.")
    conditions = {
        name: request.headers[f"x-cos-copy-source-{name}"]
        for name in ("if-match", "if-none-match")
        if f"x-cos-copy-source-{name}" in request.headers
    }
    entry, blob = await service.run(service.store.copy, source, lambda found: _check_source(found, conditions))
    headers = stored_headers(request) if directive == "Replaced" else entry.headers
    copied = await service.run(service.store.put, request.bucket, request.key, blob, headers, new=new)
    service.announce(request, copied, "Copy")
    return xml_answer("CopyObjectResult", [("ETag", etag_of(copied)), ("LastModified", iso_time(copied.modified))])


def _copy_source(service: Service, request: CosRequest) -> tuple[str, str]:
    host, slash, path = request.headers["x-cos-copy-source"].partition("/")
    if not slash or "?" in path:
        raise Refused(400, "InvalidArgument", "x-cos-copy-source is BUCKET.cos.REGION.myqcloud.com/key.")
    address = service.resolver.resolve(host, "/" + path)
    return address.bucket, address.key


def _check_source(entry: Entry, conditions: Mapping[str, str]) -> None:
    if not check_conditions(entry, conditions):
        raise _failed()


def _failed() -> Refused:
    return Refused(412, "PreconditionFailed", "Precondition Failed")


def check_conditions(entry: Entry, headers: Mapping[str, str]) -> bool:
    """Check the conditions of a read. Returns False if the object is not modified.

    Raises:
        Refused: 412 PreconditionFailed.
    """
    if "if-match" in headers:
        if not _matches(entry, headers["if-match"]):
            raise _failed()
    elif (since := _time(headers.get("if-unmodified-since", ""))) is not None and int(entry.modified) > since:
        raise _failed()
    if "if-none-match" in headers:
        return not _matches(entry, headers["if-none-match"])
    since = _time(headers.get("if-modified-since", ""))
    return since is None or int(entry.modified) > since


def _matches(entry: Entry, listed: str) -> bool:
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in listed.split(",")}
    return "*" in tags or entry.etag in tags


def _time(text: str) -> float | None:
    with suppress(ValueError, TypeError):
        return parsedate_to_datetime(text).timestamp()
    return None


def parse_range(header: str, size: int) -> tuple[int, int]:
    """Return the first byte of a Range header, and the one after its last.

    Raises:
        Refused: 416 InvalidRange: it is beyond the object, or not one plain range.
    """
    match = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", header.replace(" ", ""))
    start, end = 0, 0
    if match and match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
    elif match and match[2]:
        start, end = max(0, size - int(match[2])), size
    if start >= end:
        raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
    return start, end


def _describe(entry: Entry) -> list[tuple[str, str]]:
    spelled = [(name if name.startswith("x-cos-") else name.title(), value) for name, value in entry.headers.items()]
    modified = formatdate(entry.modified, usegmt=True)
    return [("ETag", etag_of(entry)), ("Last-Modified", modified), ("Accept-Ranges", "bytes"), *spelled]


async def head_object(service: Service, request: CosRequest) -> Answer:
    """HEAD: headers of the object."""
    refuse_unknown_headers(request)
    entry = await service.run(service.store.find, request.bucket, request.key)
    status = 200 if check_conditions(entry, request.headers) else 304
    return Answer(status, _describe(entry), length=entry.size)


async def get_object(service: Service, request: CosRequest) -> Answer:
    """GET: the body, or a range of it."""
    refuse_unknown_headers(request)
    entry, file = await service.run(service.store.open, request.bucket, request.key)
    try:
        return _answer_body(service, request, entry, file)
    except Refused:
        await service.run(file.close)
        raise


def _answer_body(service: Service, request: CosRequest, entry: Entry, file: BinaryIO) -> Answer:
    headers = _replaced(_describe(entry), request)
    if not check_conditions(entry, request.headers):
        return Answer(304, headers, file=file)
    status, start, end = 200, 0, entry.size
    if "range" in request.headers:
        status = 206
        start, end = parse_range(request.headers["range"], entry.size)
        headers.append(("Content-Range", f"bytes {start}-{end - 1}/{entry.size}"))
    pieces = _pieces(service, request, file, start, end)
    return Answer(status, headers, stream=pieces, length=end - start, file=file)


def _replaced(headers: list[tuple[str, str]], request: CosRequest) -> list[tuple[str, str]]:
    wanted = {RESPONSE_PARAMS[name]: value for name, value in request.query if name in RESPONSE_PARAMS}
    return [(name, value) for name, value in headers if name not in wanted] + list(wanted.items())


async def _pieces(service: Service, request: CosRequest, file: BinaryIO, start: int, end: int) -> AsyncIterator[bytes]:
    slow = service.faults.take(FaultKind.SLOW_BODY, request.method, request.key)
    await service.run(file.seek, start)
    while start < end:
        if slow:
            await service.sleep(slow.seconds)
        piece = await service.run(file.read, min(_SLOW_PIECE if slow else _PIECE, end - start))
        start += len(piece)
        yield piece


async def delete_object(service: Service, request: CosRequest) -> Answer:
    """DELETE: 204, also if there was no object."""
    refuse_unknown_headers(request)
    await service.run(service.store.delete, request.bucket, [request.key])
    return Answer(204)


async def put_tagging(service: Service, request: CosRequest) -> Answer:
    """PUT ?tagging."""
    body = await request.read()
    tags = parse(body, "Tagging").findall("TagSet/Tag")
    if not all(tag.findtext("Key") for tag in tags):
        raise Refused(400, "MalformedXML", "A tag needs a key.")
    await service.run(service.store.set_note, request.bucket, request.key, "tagging", body)
    return Answer(200)


async def get_tagging(service: Service, request: CosRequest) -> Answer:
    """GET ?tagging."""
    body = await service.run(service.store.note, request.bucket, request.key, "tagging")
    if body is None:
        raise Refused(404, "NoSuchTagSet", "The TagSet does not exist.")
    return Answer(200, [("Content-Type", "application/xml")], body)


async def delete_tagging(service: Service, request: CosRequest) -> Answer:
    """DELETE ?tagging."""
    await service.run(service.store.set_note, request.bucket, request.key, "tagging", None)
    return Answer(204)
