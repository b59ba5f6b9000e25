"""VOD's codes: a row for each, of an answer that refuses a call and of a job that has failed.

Source: docs/reference/vod.md. A code may have a suffix (`InvalidParameterValue.Limit`): where the whole has no row, the
part before the first dot counts. Without a row the HTTP status decides (`services.vendors.on_create`); Tencent Cloud
answers errors with 200, which proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from messages.codes import Code
from services.vendors.coded import Meaning
from services.vendors.on_create import OnCreate

__all__ = ["CODES", "JobMeaning", "meaning_of"]


class JobMeaning(Meaning, frozen=True, kw_only=True):
    """A row of the table."""

    duplicate: bool = False
    """True if a job of the same SessionId has been accepted before."""
    unknown_job: bool = False
    """True if, of a look at a job, it says that there is no such job."""


def _never(subject: str, code: Code | None = None, *, unknown_job: bool = False) -> JobMeaning:
    return JobMeaning(subject=subject, create=OnCreate.REFUSED, code=code, unknown_job=unknown_job)


def _full(subject: str, wait: float) -> JobMeaning:
    return JobMeaning(subject=subject, create=OnCreate.FULL, wait=wait)


def _account(subject: str) -> JobMeaning:
    # Nothing was accepted, and a paying customer's task must not die of it: it waits for a person.
    return JobMeaning(subject=subject, create=OnCreate.FULL, wait=60.0, alarm=True)


def _configuration(subject: str) -> JobMeaning:
    return JobMeaning(subject=subject, create=OnCreate.REFUSED, alarm=True)


def _open(subject: str) -> JobMeaning:
    return JobMeaning(subject=subject, create=OnCreate.UNKNOWN)


_DUPLICATE: Final = JobMeaning(subject="SessionId used before", create=OnCreate.UNKNOWN, duplicate=True)

CODES: Final[Mapping[str, JobMeaning]] = {
    "InvalidParameterValue.SessionId": _DUPLICATE,
    "FailedOperation.TaskDuplicate": _DUPLICATE,
    "RequestLimitExceeded": _full("calls a second, or jobs at once", 10.0),
    "LimitExceeded": _full("quota", 30.0),
    "ResourceInsufficient": _full("vendor has no machine free", 30.0),
    "AuthFailure": _account("signature, key or token"),
    "UnauthorizedOperation": _account("rights of the role"),
    "FailedOperation.InvalidAccount": _account("account"),
    "FailedOperation.InvalidVodUser": _account("VOD not opened"),
    "FailedOperation.UserStatusInavlid": _account("service stopped"),
    "ResourceUnavailable": _account("service stopped or unpaid"),
    "InvalidParameterValue.SubAppId": _configuration("VOD_SUB_APP_ID"),
    "OperationDenied": _configuration("model or call not open to the account"),
    "UnsupportedOperation": _configuration("model or call not supported"),
    "InvalidAction": _configuration("no such call"),
    "ActionOffline": _configuration("call withdrawn"),
    "NoSuchVersion": _configuration("no such version of the interface"),
    "InvalidParameter": _never("parameter"),
    "InvalidParameterValue": _never("parameter"),
    "InvalidParameterValue.TaskId": _never("no such job", unknown_job=True),
    "MissingParameter": _never("parameter missing"),
    "UnknownParameter": _never("parameter that the call does not have"),
    "RequestSizeLimitExceeded": _never("request too large"),
    "ResourceNotFound": _never("no such job or file", unknown_job=True),
    "InvalidParameter.MediaFormat": _never("format of a reference picture", Code.BAD_PICTURE),
    "InvalidParameter.VoilationContent": _never("content", Code.CONTENT_VIOLATION),
    "ContentModerationFailed": _never("content", Code.CONTENT_VIOLATION),
    "FailedOperation": _open("failure, or a queue of jobs at the model"),
    "InternalError": _open("server error"),
    "ModelGenerateFailed": _open("model failed"),
    "TaskTimeout": _open("job took too long"),
    "OperationCanceled": _open("job stopped"),
}
"""Code -> meaning."""


def meaning_of(code: str) -> JobMeaning | None:
    """Return the meaning of a code; None where the table has no row for it."""
    return CODES.get(code) or CODES.get(code.partition(".")[0])
