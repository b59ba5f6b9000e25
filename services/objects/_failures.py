"""Conversion of COS's error answers to errors of the product. Pure.

Sources: COS, "Error codes" (document 436/7730), for statuses and codes; CI's codes of persistent processing stand in
the same table, as 400s. Which codes blame the picture is an assumption until it is seen on a real bucket:
`InvalidImageFormat`, `ImageTooLarge` and `ImageResolutionExceed`. Every other 400, such as `InvalidPicOperations` and
`InvalidArgument`, blames the rule. A 400 about a video blames the video: those calls carry no rule. The codes in
`_REFUSED` and a 401 blame this machine; any other 403 may be about one object only, which HEAD, having no code, cannot
show. `InvalidObjectState` is an object in the archive.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

import msgspec

from messages.codes import Code
from messages.errors import Permanent, ScfWorkersError
from services.errors import BadPicture, BadVideo, Changed, Denied, Exists, Forbidden, NotFound, ObjectsDown

__all__ = ["Failure", "code_of", "error_of", "error_of_code", "request_id_of"]

_CODE: Final = re.compile(rb"<Code>\s*([\w.-]{1,80})\s*</Code>")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_+/=-]{1,64}")
_BY_STATUS: Final[dict[int, type[ScfWorkersError]]] = {401: Denied, 403: Forbidden, 404: NotFound, 412: Changed}
_CONFLICT: Final = 409
# Below 400: an answer that broke off or could not be read; 402: an account in arrears, which is no task's fault.
_DOWN: Final = frozenset({*range(400), 402, 408, _CONFLICT, 429, *range(500, 600)})
_REFUSED: Final = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidBucketName", "InvalidToken", "NoSuchBucket"}
    | {"RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)
_FORBIDDEN: Final = "AccessDenied"
_ARCHIVED: Final = "InvalidObjectState"
# Two writes of one key within a millisecond: neither side knows who won.
_COLLIDED: Final = frozenset({"PathConflict", "UploadConflict"})
_PASSING: Final = frozenset(
    {"BadDigest", "EntitySizeNotMatch", "IncompleteBody", "InternalError", "RequestTimeout", "ServiceUnavailable"}
    | {"SlowDown", "UserNetworkTooSlow"}
)
_OF_VIDEO: Final = frozenset({"video_info", "snapshot"})
_PICTURE: Final = {
    "ImageResolutionExceed": Code.PICTURE_TOO_LARGE,
    "ImageTooLarge": Code.PICTURE_TOO_LARGE,
    "InvalidImageFormat": Code.BAD_PICTURE,
}


class Failure(msgspec.Struct, frozen=True):
    """A call that failed. No field is secret: all of it may be logged."""

    operation: str
    key: str
    status: int = 0
    """0: no answer."""
    code: str = ""
    request_id: str = ""
    cut: bool = False
    """True if its body, which names the code, broke off or cannot be read: only the status is known."""
    host: str = ""
    """Host, and port where it is not the usual one, which did not answer."""
    reason: str = ""
    """Words for the failure on our side, where there is no status or the body broke off."""
    retry_after: float | None = None
    date: float = 0.0
    """Time of the store's answer by its clock, seconds since the epoch."""

    def __str__(self) -> str:
        place = f" at {self.host}" if self.host else ""
        details = (str(self.status or ""), self.code, self.reason, self.request_id)
        return f"{self.operation} {self.key!r}{place}: {' '.join(filter(None, details)) or 'no answer'}"


def error_of(failure: Failure) -> ScfWorkersError:
    """Return the error for a call that failed: by status first, since HEAD has no code, then by code."""
    text = str(failure)
    if failure.code in _REFUSED:
        return Denied(text, date=failure.date)
    if failure.code == _FORBIDDEN:
        return Forbidden(text, date=failure.date)
    if failure.cut and failure.status not in {401, 403}:
        return ObjectsDown(text, retry_after=failure.retry_after, date=failure.date)
    if failure.status in _BY_STATUS and failure.code != _ARCHIVED:
        kind = _BY_STATUS[failure.status]
        return kind(text, date=failure.date) if issubclass(kind, ObjectsDown) else kind(text)
    if failure.operation == "put_new" and failure.status == _CONFLICT and failure.code not in _COLLIDED:
        return Exists(text)
    if failure.status in _DOWN or failure.code in _PASSING:
        return ObjectsDown(text, retry_after=failure.retry_after, date=failure.date)
    if failure.operation == "process" and failure.code in _PICTURE:
        return BadPicture(text, code=_PICTURE[failure.code])
    if failure.operation in _OF_VIDEO and failure.status == HTTPStatus.BAD_REQUEST:
        return BadVideo(text)
    return Permanent(text)


def error_of_code(operation: str, key: str, code: str) -> ScfWorkersError | None:
    """Return the error for one key of a batch, which has a code but no status; None where nothing is wrong."""
    if code == "NoSuchKey":
        return None
    return error_of(Failure(operation, key, status=400, code=code))


def code_of(body: bytes) -> str:
    """Return COS's error code in an error body; empty without one. The SDK finds it only in complete bodies."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""


def request_id_of(text: str) -> str:
    """Return COS's id of a request (base64 or hex); empty for anything else, which may be text that we had sent."""
    return text if _REQUEST_ID.fullmatch(text) else ""
