"""Multipart uploads.

Source: Tencent COS, "Initiate Multipart Upload" (document 436/7746) and the following pages: 1 to 10,000 parts, each
of 1 MB to 5 GB except the last; the ETag of the object is the MD5 of the parts' MD5s, followed by the number of parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sandbox.cos.errors import Refused
from sandbox.cos.http.wire import Answer, CosRequest, xml_answer
from sandbox.cos.http.xml import Node, parse, text_of
from sandbox.cos.objects import etag_of, flag, iso_time, refuse_unknown_headers, stored_headers
from sandbox.cos.service import Service, spool
from sandbox.cos.store import Part

__all__ = ["MIN_PART_BYTES", "abort", "begin", "choose_parts", "complete", "list_parts", "list_uploads", "put_part"]

MIN_PART_BYTES = 1 << 20
"""Least size in bytes of every part but the last."""

_MAX_PART = 10_000
_NEW = "x-cos-forbid-overwrite"


async def begin(service: Service, request: CosRequest) -> Answer:
    """POST ?uploads."""
    refuse_unknown_headers(request, write=True)
    headers = stored_headers(request)
    if flag(request, _NEW):
        headers[_NEW] = "true"
    upload = await service.run(service.store.begin, request.bucket, request.key, headers)
    node = [("Bucket", request.bucket), ("Key", request.key), ("UploadId", upload)]
    return xml_answer("InitiateMultipartUploadResult", node)


async def put_part(service: Service, request: CosRequest) -> Answer:
    """PUT ?partNumber&uploadId."""
    refuse_unknown_headers(request)
    number = request.param("partNumber")
    if not number.isdigit() or not 1 <= int(number) <= _MAX_PART:
        raise Refused(400, "InvalidArgument", f"partNumber is 1 to {_MAX_PART}.")
    blob = await spool(service, request)
    upload = request.param("uploadId")
    await service.run(service.store.add_part, request.bucket, request.key, upload, int(number), blob)
    return Answer(200, [("ETag", f'"{blob.etag}"')])


async def complete(service: Service, request: CosRequest) -> Answer:
    """POST ?uploadId: join the parts."""
    refuse_unknown_headers(request, write=True)
    if "pic-operations" in request.headers:
        raise Refused(400, "InvalidArgument", "The stand-in takes Pic-Operations on PUT and image_process only.")
    document = parse(await request.read(4 << 20), "CompleteMultipartUpload")
    wanted = [(text_of(part, "PartNumber"), text_of(part, "ETag").strip('"')) for part in document.findall("Part")]
    upload, stored = await service.run(service.store.parts, request.bucket, request.key, request.param("uploadId"))
    parts = choose_parts(wanted, stored)
    new = flag(request, _NEW) or _NEW in upload.headers
    headers = {name: value for name, value in upload.headers.items() if name != _NEW}
    blob = await service.run(service.store.join, parts, _joint_etag(parts))
    entry = await service.run(service.store.complete, request.bucket, upload, blob, headers, new=new)
    service.announce(request, entry, "CompleteMultipartUpload")
    node = [
        ("Location", service.location(request.bucket, request.key)),
        ("Bucket", request.bucket),
        ("Key", request.key),
        ("ETag", etag_of(entry)),
    ]
    return xml_answer("CompleteMultipartUploadResult", node)


def choose_parts(wanted: Sequence[tuple[str, str]], stored: Sequence[Part]) -> list[Part]:
    """Return the stored parts that a completion names.

    Args:
        wanted: part numbers and bare ETags, in the order given.
        stored: the uploaded parts.

    Raises:
        Refused: 400 MalformedXML, InvalidPartOrder, InvalidPart or EntityTooSmall.
    """
    if not wanted or not all(number.isdigit() for number, _ in wanted):
        raise Refused(400, "MalformedXML", "A completion names its parts by number.")
    numbers = [int(number) for number, _ in wanted]
    if numbers != sorted(set(numbers)):
        raise Refused(400, "InvalidPartOrder", "The parts are not in ascending order.")
    found = {part.number: part for part in stored}
    for number, etag in zip(numbers, (etag for _, etag in wanted), strict=True):
        if number not in found or found[number].etag != etag:
            raise Refused(400, "InvalidPart", f"Part {number} was not found, or its ETag is another.")
    parts = [found[number] for number in numbers]
    if any(part.size < MIN_PART_BYTES for part in parts[:-1]):
        raise Refused(400, "EntityTooSmall", "A part other than the last is smaller than 1 MB.")
    return parts


def _joint_etag(parts: Sequence[Part]) -> str:
    digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


async def abort(service: Service, request: CosRequest) -> Answer:
    """DELETE ?uploadId."""
    await service.run(service.store.abort, request.bucket, request.key, request.param("uploadId"))
    return Answer(204)


async def list_parts(service: Service, request: CosRequest) -> Answer:
    """GET ?uploadId: all parts on one page."""
    upload, parts = await service.run(service.store.parts, request.bucket, request.key, request.param("uploadId"))
    node: list[tuple[str, Node]] = [
        ("Bucket", request.bucket),
        ("Key", request.key),
        ("UploadId", upload.id),
        ("MaxParts", _MAX_PART),
        ("IsTruncated", "false"),
    ]
    for part in parts:
        shown: Node = [
            ("PartNumber", part.number),
            ("LastModified", iso_time(part.modified)),
            ("ETag", f'"{part.etag}"'),
            ("Size", part.size),
        ]
        node.append(("Part", shown))
    return xml_answer("ListPartsResult", node)


async def list_uploads(service: Service, request: CosRequest) -> Answer:
    """GET ?uploads: all unfinished uploads under a prefix on one page."""
    prefix = request.param("prefix")
    if request.param("delimiter") or request.param("key-marker") or request.param("upload-id-marker"):
        raise Refused(400, "InvalidArgument", "The stand-in lists uploads by prefix only, on one page.")
    uploads = await service.run(service.store.uploads, request.bucket, prefix)
    node: list[tuple[str, Node]] = [
        ("Bucket", request.bucket),
        ("EncodingType", request.param("encoding-type")),
        ("Prefix", request.encoded(prefix)),
        ("MaxUploads", 1000),
        ("IsTruncated", "false"),
    ]
    for upload in uploads:
        shown: Node = [
            ("Key", request.encoded(upload.key)),
            ("UploadId", upload.id),
            ("StorageClass", upload.headers.get("x-cos-storage-class", "STANDARD")),
            ("Initiated", iso_time(upload.begun)),
        ]
        node.append(("Upload", shown))
    return xml_answer("ListMultipartUploadsResult", node)
