"""Ark's codes: a row for each code of its error reference, with its meaning for a paid create.

Source: docs/reference/ark.md. A code may have a suffix (`InvalidParameter.size`): where the whole has no row, the part
before the first dot counts. Without a row the HTTP status decides (`services.vendors.on_create`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from messages.codes import Code
from services.vendors.coded import Meaning
from services.vendors.on_create import OnCreate

__all__ = ["CODES", "CONTENT", "QUEUE_FULL", "meaning_of"]


def _never(subject: str, code: Code | None = None) -> Meaning:
    return Meaning(subject, OnCreate.REFUSED, code)


def _full(subject: str, wait: float) -> Meaning:
    return Meaning(subject, OnCreate.FULL, wait=wait)


def _account(subject: str) -> Meaning:
    # Key and funds: nothing was accepted, and a paying customer's task must not die of it: it waits for a person, and
    # the deadline judges.
    return Meaning(subject, OnCreate.FULL, alarm=True)


def _configuration(subject: str) -> Meaning:
    # Waiting changes nothing: the account has decided so, or the model is gone.
    return Meaning(subject, OnCreate.REFUSED, alarm=True)


def _server(subject: str) -> Meaning:
    return Meaning(subject, OnCreate.UNKNOWN)


_MINUTE: Final = 10.0
"""Seconds to wait for a limit that is counted by the minute."""

CONTENT: Final = _never("content", Code.CONTENT_VIOLATION)
"""Codes of the content check, of which there are many."""
QUEUE_FULL: Final = _full("too many queued tasks", 30.0)
"""`QuotaExceeded` where its message speaks of the queue; its other two meanings do not pass by waiting."""

CODES: Final[Mapping[str, Meaning]] = {
    "MissingParameter": _never("parameter missing"),
    "InvalidParameter": _never("parameter"),
    "InvalidParameter.OversizedImage": _never("reference picture too large", Code.PICTURE_TOO_LARGE),
    "InvalidParameter.UnsupportedImageFormat": _never("format of a reference picture", Code.BAD_PICTURE),
    "InvalidParameter.UnsupportedParameter": _never("parameter that the model does not take"),
    "InvalidArgumentError": _never("argument"),
    "InvalidImageURL": _never("URL of a reference picture"),
    "InvalidImageURL.InvalidFormat": _never("reference picture not readable", Code.BAD_PICTURE),
    "OutofContextError": _never("prompt too long", Code.BAD_PARAMETERS),
    "InputTextSensitiveContentDetected": CONTENT,
    "InputImageSensitiveContentDetected": CONTENT,
    "OutputImageSensitiveContentDetected": CONTENT,
    "SensitiveContentDetected": CONTENT,
    "InputTextRiskDetection": CONTENT,
    "InputImageRiskDetection": CONTENT,
    "OutputImageRiskDetection": CONTENT,
    # The detector itself failed, perhaps on the finished picture.
    "ContentSecurityDetectionError": _server("content check failed"),
    "AuthenticationError": _account("key"),
    "InvalidAccountStatus": _account("account blocked"),
    "AccountOverdueError": _account("funds"),
    "AccessDenied": _account("rights of the key"),
    "InvalidSubscription": _account("plan ended"),
    "OperationDenied.ServiceOverdue": _account("funds"),
    "OperationDenied.PermissionDenied": _configuration("rights of the key on the model"),
    "OperationDenied.ServiceNotOpen": _configuration("service not open"),
    "OperationDenied.FileQuotaExceeded": _configuration("space for files used up"),
    "ModelNotOpen": _configuration("model not open"),
    "UnsupportedModel": _configuration("model not in the plan"),
    "InvalidEndpoint.ClosedEndpoint": _configuration("endpoint closed"),
    "InvalidEndpointOrModel": _configuration("no such model or endpoint, or retired"),
    "InvalidEndpointOrModel.ModelIDAccessDisabled": _configuration("only endpoints may be called"),
    "NotFound": _configuration("no such resource"),
    "QuotaExceeded": _configuration("free quota or plan used up"),
    "SetLimitExceeded": _configuration("spend cap of the account"),
    "ModelAccountIpmRateLimitExceeded": _full("pictures a minute", _MINUTE),
    "ModelAccountRpmRateLimitExceeded": _full("requests a minute", _MINUTE),
    "ModelAccountTpmRateLimitExceeded": _full("tokens a minute", _MINUTE),
    "APIAccountRpmRateLimitExceeded": _full("requests a minute", _MINUTE),
    "AccountRateLimitExceeded": _full("rate of the account", _MINUTE),
    "RateLimitExceeded": _full("rate of the endpoint", _MINUTE),
    "RequestBurstTooFast": _full("burst", 5.0),
    "ServerOverloaded": _full("vendor overloaded", 10.0),
    "InflightBatchsizeExceeded": _full("calls at once", 5.0),
    "InternalServiceError": _server("server error"),
}
"""Code -> meaning."""

_QUEUE: Final = re.compile(r"queue|排队", re.IGNORECASE)
_CONTENT: Final = re.compile(
    r"\w*(?:SensitiveContentDetected|RiskDetection)(?:\.\w+)?|\w+\.(?:PolicyViolation|PrivacyInformation)", re.ASCII
)


def meaning_of(code: str, message: str) -> Meaning | None:
    """Return the meaning of an error; None where the table has no row for its code."""
    if code == "QuotaExceeded" and _QUEUE.search(message):
        return QUEUE_FULL
    if found := CODES.get(code) or CODES.get(code.partition(".")[0]):
        return found
    return CONTENT if _CONTENT.fullmatch(code) else None
