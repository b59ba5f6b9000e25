"""HTTP as a function sees it behind a Function URL: an event in, a dictionary out. Pure.

Source: SCF, "Function URL" (document 583/96099). Events are read leniently: an older gateway's events have the same
fields and some more, and whether a body may come in base64 is not documented.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from runtime.errors import BadBody

__all__ = ["Request", "read_json", "read_request", "respond"]


class Request(msgspec.Struct, frozen=True):
    """An HTTP request."""

    method: str
    """Upper case."""
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def client(self) -> str:
        """Address of the caller, as the platform saw it; empty if unknown."""
        return self.headers.get("x-scf-remote-addr", "")


def read_request(event: Mapping[str, Any]) -> Request:
    """Return the request in an event; a field that is missing or of another type is empty.

    Raises:
        runtime.errors.BadBody: the event says that its body is base64, and it is not.
    """
    body = _text(event.get("body")).encode("utf-8", "surrogatepass")
    if event.get("isBase64Encoded") in (True, "true"):
        decoded = _unpack(body)
        if decoded is None:
            raise BadBody("the body is not the base64 that it should be")
        body = decoded
    return Request(
        method=_text(event.get("httpMethod")).upper(),
        path=_text(event.get("path")),
        query=_texts(event.get("queryString"), last=True),
        headers={name.lower(): value for name, value in _texts(event.get("headers")).items()},
        body=body,
    )


def read_json(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a body, which may be in base64 without notice.

    Raises:
        runtime.errors.BadBody: the body is not a JSON object.
    """
    found = _object(body)
    if found is None and (unpacked := _unpack(body)) is not None:
        found = _object(unpacked)
    if found is None:
        raise BadBody("the body is no JSON object")
    return found


def respond(status: int, document: Mapping[str, object], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return an answer with a JSON body."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", **(headers or {})},
        "body": msgspec.json.encode(document).decode(),
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object, *, last: bool = False) -> dict[str, str]:
    """Return names and texts; of several values of a name the first, or the last."""
    if not isinstance(value, Mapping):
        return {}
    singles = {name: _single(texts, -1 if last else 0) for name, texts in value.items()}
    return {name: text for name, text in singles.items() if isinstance(name, str) and isinstance(text, str)}


def _single(value: object, place: int) -> object:
    return value[place] if isinstance(value, list) and value else value


def _unpack(body: bytes) -> bytes | None:
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return None


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
