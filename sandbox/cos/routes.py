"""Verb of a request. A request that is not in the table is refused, never handled as another verb."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from sandbox.cos import bucket_rules, buckets, multipart, objects
from sandbox.cos.ci import audit_requests as auditing
from sandbox.cos.ci import media_jobs as media
from sandbox.cos.ci import requests as ci
from sandbox.cos.ci import video_requests as videos
from sandbox.cos.ci.pictures import CUT_OUTS
from sandbox.cos.errors import Refused
from sandbox.cos.http.signature import is_signature_field
from sandbox.cos.http.wire import Answer, CosRequest
from sandbox.cos.service import Service

__all__ = ["Handler", "Route", "choose"]

Handler: TypeAlias = Callable[[Service, CosRequest], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """Verb and its handler."""

    name: str
    handler: Handler


async def _put(service: Service, request: CosRequest) -> Answer:
    if "x-cos-copy-source" in request.headers:
        return await objects.copy_object(service, request)
    if "pic-operations" in request.headers:
        return await ci.put_processed(service, request)
    entry = await objects.put_object(service, request)
    return Answer(200, [("ETag", objects.etag_of(entry))])


_SUBRESOURCES = (
    "uploads",
    "uploadId",
    "delete",
    "tagging",
    "lifecycle",
    "cors",
    "versioning",
    "image_process",
    "ci-process",
)
_LIST = frozenset(("prefix", "delimiter", "marker", "max-keys", "encoding-type"))
_UPLOADS = frozenset(("prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"))
_PARTS = frozenset(("max-parts", "part-number-marker", "encoding-type"))
_AUDIT = frozenset(("detect-type", "biz-type", "dataid", "large-image-detect"))
_POSTED = frozenset(("image/auditing", "text/auditing", "video/auditing", media.MEDIA_JOBS))
_JOBS = (videos.JOBS_PREFIX, media.MEDIA_PREFIX)
_SNAPSHOT = frozenset(("time", "width", "height", "format", "rotate", "mode"))
_LAYOUT = frozenset(("center-layout", "padding-layout"))
_NONE = frozenset[str]()

# (method, bucket or object, sub-resource) -> verb
_TABLE: dict[tuple[str, str, str], tuple[Handler, frozenset[str]]] = {
    ("PUT", "object", ""): (_put, _NONE),
    ("GET", "object", ""): (objects.get_object, frozenset(objects.RESPONSE_PARAMS)),
    ("HEAD", "object", ""): (objects.head_object, _NONE),
    ("DELETE", "object", ""): (objects.delete_object, _NONE),
    ("PUT", "object", "tagging"): (objects.put_tagging, _NONE),
    ("GET", "object", "tagging"): (objects.get_tagging, _NONE),
    ("DELETE", "object", "tagging"): (objects.delete_tagging, _NONE),
    ("POST", "object", "uploads"): (multipart.begin, _NONE),
    ("PUT", "object", "uploadId"): (multipart.put_part, frozenset(("partNumber",))),
    ("POST", "object", "uploadId"): (multipart.complete, _NONE),
    ("DELETE", "object", "uploadId"): (multipart.abort, _NONE),
    ("GET", "object", "uploadId"): (multipart.list_parts, _PARTS),
    ("GET", "bucket", "uploads"): (multipart.list_uploads, _UPLOADS),
    ("HEAD", "bucket", ""): (buckets.head_bucket, _NONE),
    ("GET", "bucket", ""): (buckets.list_objects, _LIST),
    ("POST", "bucket", "delete"): (buckets.delete_many, _NONE),
    ("PUT", "bucket", "lifecycle"): (bucket_rules.put_lifecycle, _NONE),
    ("GET", "bucket", "lifecycle"): (bucket_rules.get_lifecycle, _NONE),
    ("DELETE", "bucket", "lifecycle"): (bucket_rules.delete_lifecycle, _NONE),
    ("PUT", "bucket", "cors"): (bucket_rules.put_cors, _NONE),
    ("GET", "bucket", "cors"): (bucket_rules.get_cors, _NONE),
    ("DELETE", "bucket", "cors"): (bucket_rules.delete_cors, _NONE),
    ("GET", "bucket", "versioning"): (buckets.get_versioning, _NONE),
    ("POST", "object", "image_process"): (ci.image_process, _NONE),
    ("GET", "object", "imageMogr2"): (ci.get_processed, _NONE),
    ("GET", "object", "matting"): (ci.cut_out, _LAYOUT),
    ("GET", "object", "ImageAIGCMetadata"): (ci.label_of, _NONE),
    ("GET", "object", "sensitive-content-recognition"): (auditing.audit_one, _AUDIT),
    ("POST", "image/auditing", ""): (auditing.audit_batch, _NONE),
    ("POST", "text/auditing", ""): (auditing.audit_text, _NONE),
    ("POST", "video/auditing", ""): (videos.submit_audit, _NONE),
    ("GET", "video/auditing/", ""): (videos.query_audit, _NONE),
    ("POST", media.MEDIA_JOBS, ""): (media.submit_job, _NONE),
    ("GET", media.MEDIA_PREFIX, ""): (media.query_job, _NONE),
    ("GET", "object", "videoinfo"): (videos.video_info, _NONE),
    ("GET", "object", "MediaAIGCMetadata"): (videos.label_of, _NONE),
    ("GET", "object", "snapshot"): (videos.snapshot, _SNAPSHOT),
}


def choose(request: CosRequest) -> Route:
    """Choose the verb of a request.

    Raises:
        Refused: 400 InvalidArgument: a parameter that this verb does not know; 405 MethodNotAllowed: no such verb.
    """
    names = {name for name, _ in request.query if not is_signature_field(name)}
    topic, own = _topic(request, names)
    about = "bucket" if not request.key else "object"
    if request.method == "POST" and request.key in _POSTED and not topic:
        about = request.key
    if request.method == "GET" and not topic:
        about = next((prefix for prefix in _JOBS if request.key.startswith(prefix)), about)
    found = _TABLE.get((request.method, about, topic))
    if found is None and names:
        raise Refused(400, "InvalidArgument", f"Unknown parameters: {', '.join(sorted(names))[:200]}")
    if found is None:
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
    handler, params = found
    if unknown := names - params - own:
        raise Refused(400, "InvalidArgument", f"Unknown parameters: {', '.join(sorted(unknown))[:200]}")
    return Route(f"{request.method} {topic or about}", handler)


def _topic(request: CosRequest, names: set[str]) -> tuple[str, set[str]]:
    """Return the sub-resource, and the parameters that name it."""
    rules = {name for name in names if name.startswith("imageMogr2")}
    if rules:
        return "imageMogr2", rules
    topic = next((name for name in _SUBRESOURCES if name in names), "")
    if topic != "ci-process":
        return topic, {topic} if topic else set()
    kind = request.param("ci-process")
    return "matting" if kind in CUT_OUTS else kind, {topic}
