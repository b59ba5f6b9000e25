"""Verbs of a bucket: listing, deletion of many objects, versioning.

Sources: Tencent COS, "GET Bucket (List Objects)" (document 436/7734), "DELETE Multiple Objects" (436/8289) and "GET
Bucket versioning".
"""

from __future__ import annotations

import hashlib

from sandbox.cos.errors import Refused
from sandbox.cos.http.wire import Answer, CosRequest, xml_answer
from sandbox.cos.http.xml import Node, parse, text_of
from sandbox.cos.objects import etag_of, iso_time
from sandbox.cos.service import Service, check_digest

__all__ = [
    "MAX_KEYS",
    "delete_many",
    "get_versioning",
    "head_bucket",
    "list_objects",
]

MAX_KEYS = 1000
"""Keys of one page, and of one deletion."""


async def head_bucket(service: Service, request: CosRequest) -> Answer:
    """HEAD: the bucket exists."""
    del request
    return Answer(200, [("x-cos-bucket-region", service.region)])


async def list_objects(service: Service, request: CosRequest) -> Answer:
    """GET: one page of keys, version 1 of the listing."""
    limit = request.param("max-keys") or str(MAX_KEYS)
    if not limit.isdigit():
        raise Refused(400, "InvalidArgument", "max-keys is a number.")
    if request.param("encoding-type") not in {"", "url"}:
        raise Refused(400, "InvalidArgument", "encoding-type is url.")
    prefix, delimiter, marker = (request.param(name) for name in ("prefix", "delimiter", "marker"))
    page = await service.run(
        service.store.page,
        request.bucket,
        prefix=prefix,
        delimiter=delimiter,
        marker=marker,
        limit=min(int(limit), MAX_KEYS),
    )
    node: list[tuple[str, Node]] = [
        ("Name", request.bucket),
        ("EncodingType", request.param("encoding-type")),
        ("Prefix", request.encoded(prefix)),
        ("Marker", request.encoded(marker)),
        ("MaxKeys", min(int(limit), MAX_KEYS)),
        ("Delimiter", request.encoded(delimiter)),
        ("IsTruncated", "true" if page.next_marker else "false"),
    ]
    if page.next_marker:
        node.append(("NextMarker", request.encoded(page.next_marker)))
    for entry in page.entries:
        shown: Node = [
            ("Key", request.encoded(entry.key)),
            ("LastModified", iso_time(entry.modified)),
            ("ETag", etag_of(entry)),
            ("Size", entry.size),
            ("Owner", [("ID", service.appid), ("DisplayName", service.appid)]),
            ("StorageClass", entry.headers.get("x-cos-storage-class", "STANDARD")),
        ]
        node.append(("Contents", shown))
    node += [("CommonPrefixes", [("Prefix", request.encoded(name))]) for name in page.prefixes]
    return xml_answer("ListBucketResult", node)


async def delete_many(service: Service, request: CosRequest) -> Answer:
    """POST ?delete."""
    body = await request.read(2 << 20)
    check_digest(request, hashlib.md5(body, usedforsecurity=False).hexdigest())
    document = parse(body, "Delete")
    keys = [(item.findtext("Key") or "").removeprefix("/") for item in document.findall("Object")]
    if not 0 < len(keys) <= MAX_KEYS or not all(keys):
        raise Refused(400, "MalformedXML", f"A deletion names 1 to {MAX_KEYS} keys.")
    await service.run(service.store.delete, request.bucket, keys)
    quiet = text_of(document, "Quiet") == "true"
    return xml_answer("DeleteResult", [] if quiet else [("Deleted", [("Key", key)]) for key in keys])


async def get_versioning(service: Service, request: CosRequest) -> Answer:
    """GET ?versioning: empty for a bucket that never kept versions."""
    status = service.versioning.get(request.bucket, "")
    return xml_answer("VersioningConfiguration", [("Status", status)] if status else [])
