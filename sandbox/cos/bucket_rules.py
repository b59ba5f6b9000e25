"""Rules of a bucket: lifecycle and CORS. They are checked, stored and returned as they came; lifecycles do nothing.

Sources: Tencent COS, "PUT Bucket lifecycle" (document 436/8280), "GET Bucket lifecycle" (436/8278), "PUT Bucket cors"
(436/8279), "GET Bucket cors" (436/8274), "OPTIONS Object" (436/8288) and "Error codes" (436/7730). Undocumented, so
chosen here: the code of a preflight that no rule allows is AccessForbidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from sandbox.cos.errors import Refused
from sandbox.cos.http.cors import allowing_headers
from sandbox.cos.http.wire import Answer, CosRequest
from sandbox.cos.http.xml import Element, parse, text_of
from sandbox.cos.service import Service, check_digest

__all__ = [
    "cross_origin_headers",
    "delete_cors",
    "delete_lifecycle",
    "get_cors",
    "get_lifecycle",
    "preflight",
    "put_cors",
    "put_lifecycle",
]

_MAX_RULES: Final = 1000
_MAX_CORS_RULES: Final = 100
_MAX_DAYS: Final = 3650
_MAX_ID: Final = 255
_CLASSES: Final = frozenset(
    {"STANDARD_IA", "MAZ_STANDARD_IA", "INTELLIGENT_TIERING", "MAZ_INTELLIGENT_TIERING", "ARCHIVE", "DEEP_ARCHIVE"}
)
_METHODS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD"})
_ACTIONS: Final = (
    "Expiration",
    "Transition",
    "AbortIncompleteMultipartUpload",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransition",
)


async def put_lifecycle(service: Service, request: CosRequest) -> Answer:
    """PUT ?lifecycle: replace all rules."""
    return await _put(service, request, "lifecycle", _check_lifecycle)


async def get_lifecycle(service: Service, request: CosRequest) -> Answer:
    """GET ?lifecycle."""
    return await _get(service, request, "lifecycle", "NoSuchLifecycleConfiguration")


async def delete_lifecycle(service: Service, request: CosRequest) -> Answer:
    """DELETE ?lifecycle."""
    return await _delete(service, request, "lifecycle")


async def put_cors(service: Service, request: CosRequest) -> Answer:
    """PUT ?cors: replace all rules."""
    return await _put(service, request, "cors", _check_cors)


async def get_cors(service: Service, request: CosRequest) -> Answer:
    """GET ?cors."""
    return await _get(service, request, "cors", "NoSuchCORSConfiguration")


async def delete_cors(service: Service, request: CosRequest) -> Answer:
    """DELETE ?cors."""
    return await _delete(service, request, "cors")


async def preflight(service: Service, request: CosRequest) -> Answer:
    """OPTIONS: answer a browser's question before a request of a page of another origin. It bears no signature.

    Raises:
        Refused: 400: it is no such question; 403: no rule of the bucket allows the request.
    """
    if not request.headers.get("origin") or not request.headers.get("access-control-request-method"):
        raise Refused(400, "InvalidRequest", "A preflight has Origin and Access-Control-Request-Method.")
    headers = await cross_origin_headers(service, request)
    if not headers:
        raise Refused(403, "AccessForbidden", "This CORS request is not allowed.")
    return Answer(200, headers)


async def cross_origin_headers(service: Service, request: CosRequest) -> list[tuple[str, str]]:
    """Return the headers that let the page of a request have its answer; empty if no rule of the bucket allows it."""
    origin = request.headers.get("origin", "")
    document = await service.run(service.store.note, request.bucket, "", "cors") if origin else None
    if document is None:
        return []
    method = request.headers.get("access-control-request-method", request.method)
    asked = request.headers.get("access-control-request-headers", "").split(",")
    return allowing_headers(document, origin, method, [name.strip() for name in asked if name.strip()])


async def _put(service: Service, request: CosRequest, name: str, check: Callable[[bytes], None]) -> Answer:
    body = await request.read()
    check_digest(request, hashlib.md5(body, usedforsecurity=False).hexdigest())
    check(body)
    await service.run(service.store.set_note, request.bucket, "", name, body)
    return Answer(200)


async def _get(service: Service, request: CosRequest, name: str, missing: str) -> Answer:
    body = await service.run(service.store.note, request.bucket, "", name)
    if body is None:
        raise Refused(404, missing, f"The {name} configuration does not exist.")
    return Answer(200, [("Content-Type", "application/xml")], body)


async def _delete(service: Service, request: CosRequest, name: str) -> Answer:
    await service.run(service.store.set_note, request.bucket, "", name, None)
    return Answer(204)


def _check_lifecycle(body: bytes) -> None:
    rules = _rules(body, "LifecycleConfiguration", "Rule", _MAX_RULES)
    for rule in rules:
        if text_of(rule, "Status") not in {"Enabled", "Disabled"}:
            raise Refused(400, "MalformedXML", "A lifecycle has rules, each Enabled or Disabled.")
        actions = [action for name in _ACTIONS for action in rule.findall(name)]
        if not actions:
            raise Refused(400, "InvalidRequest", "At least one action needs to be specified in a rule.")
        for action in actions:
            _check_action(action)


def _check_action(action: Element) -> None:
    days = [text_of(action, name) for name in ("Days", "NoncurrentDays", "DaysAfterInitiation")]
    least = 0 if action.tag.endswith("Transition") else 1
    for text in filter(None, days):
        if not text.isdecimal() or not least <= int(text) <= _MAX_DAYS:
            raise Refused(400, "InvalidArgument", f"Days must be {least} to {_MAX_DAYS}.")
    if any(days) and text_of(action, "Date"):
        raise Refused(400, "MalformedXML", "An action has Days or Date, not both.")
    if action.tag.endswith("Transition") and text_of(action, "StorageClass") not in _CLASSES:
        raise Refused(400, "InvalidArgument", "The storage class of a transition is not known.")


def _check_cors(body: bytes) -> None:
    for rule in _rules(body, "CORSConfiguration", "CORSRule", _MAX_CORS_RULES):
        methods = [item.text for item in rule.findall("AllowedMethod")]
        if not rule.findall("AllowedOrigin") or not methods:
            raise Refused(400, "MalformedXML", "A CORS rule has origins and methods.")
        if any((item.text or "").count("*") > 1 for item in rule.findall("AllowedOrigin")):
            raise Refused(400, "InvalidArgument", "An AllowedOrigin has at most one *.")
        if not _METHODS.issuperset(methods):
            raise Refused(400, "InvalidArgument", "Found unsupported HTTP method in CORS config.")
        if not (text_of(rule, "MaxAgeSeconds") or "0").isdecimal():
            raise Refused(400, "MalformedXML", "MaxAgeSeconds is a number.")


def _rules(body: bytes, root: str, name: str, most: int) -> list[Element]:
    rules = parse(body, root).findall(name)
    if not 0 < len(rules) <= most:
        raise Refused(400, "MalformedXML", f"There must be 1 to {most} rules.")
    ids = [text for rule in rules if (text := text_of(rule, "ID"))]
    if len(set(ids)) < len(ids) or any(len(text) > _MAX_ID for text in ids):
        raise Refused(400, "InvalidArgument", f"Rule ID must be unique, with at most {_MAX_ID} characters.")
    return rules
