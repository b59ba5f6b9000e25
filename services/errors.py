"""Errors of the outside services.

Outage
├── ObjectsDown        COS does not answer, or answers 5xx
│   └── Denied         it refuses this machine: its credentials, its clock, its bucket
│       └── Forbidden  it refuses one call: an object under a key of others, a right that is missing
├── VendorDown         the vendor's gateway or our key as such fails; also a query that flickers
│   └── VendorMissing  the vendor is not configured on this machine
├── VendorFull         the vendor's queue for our key is full: nothing was accepted
├── FetchFailed        a file's host does not answer, answers 5xx, or breaks off
├── AuditDown          the content audit gives no finding for a picture, a video or a text
├── LabelDown          the media service draws no label over a video
└── BackendDown        the callback endpoint does not answer, or refuses our signature
Transient
├── ResultUnusable     a file's host answers, but not with the file: another media, nothing, a 4xx
└── UploadFailed       the vendor did not take an upload
Permanent
├── NotFound           no such object
├── Exists             a create-only put met an object
├── Changed            an If-Match that does not match any more
├── VendorRefused      the vendor did not accept a call, and never will
├── AnswerUnfit        a chat model's answer does not fit its schema, nor does that to the repeated question
├── FetchRefused       a URL that must not be fetched, or a file over the limit
├── BadQuestion        the backend rejects a question of ours as malformed
├── NotSold            the backend does not sell what a user asked the API for
├── CheckFailed        a checked part of a deployment answers wrongly
└── WeakSecret         a configured secret is too short to sign with
Unknown
└── CreateUnknown      a paid create was sent and its outcome is not known
Rejected
├── BadPicture         not a picture the platform can process
├── BadVideo           not a video the platform can read
└── TicketRefused      kind or parameters are not the ones that were sold
"""

from __future__ import annotations

from messages.codes import Code
from messages.errors import Outage, Permanent, Rejected, Transient, Unknown

__all__ = [
    "AnswerUnfit",
    "AuditDown",
    "BackendDown",
    "BadPicture",
    "BadQuestion",
    "BadVideo",
    "Changed",
    "CheckFailed",
    "CreateUnknown",
    "Denied",
    "Exists",
    "FetchFailed",
    "FetchRefused",
    "Forbidden",
    "LabelDown",
    "NotFound",
    "NotSold",
    "ObjectsDown",
    "ResultUnusable",
    "TicketRefused",
    "UploadFailed",
    "VendorDown",
    "VendorFull",
    "VendorMissing",
    "VendorRefused",
    "WeakSecret",
]


class ObjectsDown(Outage):
    """The object store does not answer, or answers 5xx. A write may or may not be stored.

    Args:
        message: for operators.
        retry_after: seconds it asked us to wait, if it did.
        date: when it answered, by its clock, seconds since the epoch; 0 where there was no answer. A machine whose
            clock errs is refused, and learns the time from nothing but the refusal.
    """

    whole_service = True

    def __init__(self, message: str = "", *, retry_after: float | None = None, date: float = 0.0) -> None:
        super().__init__(message, retry_after=retry_after)
        self.date = date


class Denied(ObjectsDown):
    """The store refuses this machine (credentials, clock, bucket): tasks wait for another machine or for a person."""


class Forbidden(Denied):
    """The store refuses one call, and the next one may be accepted: only this piece of work waits.

    An object encrypted with a key that the role lacks, say, or frozen; but also a role without the right as such.
    """

    whole_service = False


class VendorDown(Outage):
    """The vendor does not answer, its gateway flickers, or our key as such is refused."""


class VendorMissing(VendorDown):
    """The vendor is not configured on this machine: another machine must do the work, or a person set the key."""


class VendorFull(Outage):
    """The vendor's queue for our key is full; nothing was accepted."""


class BackendDown(Outage):
    """The backend does not answer, or does not accept our signature.

    Args:
        message: for operators.
        refused: it answered 401 or 403: only a person can help, so retry slowly and raise an alarm.
        unreadable: it answered, and not in the form of its interface.
        retry_after: seconds it asked us to wait, if it did.
    """

    whole_service = True

    def __init__(
        self, message: str = "", *, refused: bool = False, unreadable: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.refused = refused
        self.unreadable = unreadable


class FetchFailed(Outage):
    """The host of a file does not answer, answers 5xx, or breaks off; other hosts may work."""


class AuditDown(Outage):
    """The content audit gives no finding: an outage, never a pass.

    Args:
        message: for operators.
        key: the file's key; empty if the audit failed as a whole.
    """

    def __init__(self, message: str = "", *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class LabelDown(Outage):
    """The media service draws no label over a video: an outage, and nothing is shown without it."""


class ResultUnusable(Transient):
    """A file's host answers, but not with the file: another media, nothing, a 4xx, a strange redirect.

    A later look may find the file, so attempts are spent slowly: five of them take at least two minutes.
    """

    default_code = Code.VENDOR_FAILED
    least_delay = 30.0


class UploadFailed(Transient):
    """The vendor did not accept an upload, in a way that is no outage: no JSON, say, or an unlisted code.

    As `ResultUnusable`, attempts are spent slowly: an odd answer may last for a minute.
    """

    least_delay = 30.0


class NotFound(Permanent):
    """No such object."""


class Exists(Permanent):
    """A create-only put met an object that is stored already."""


class Changed(Permanent):
    """The object is not the one named by the ETag any more."""


class VendorRefused(Permanent):
    """The vendor did not accept a call and never will."""

    default_code = Code.VENDOR_REFUSED


class AnswerUnfit(Permanent):
    """A chat model's answer does not fit its schema, and neither does the answer to the repeated question.

    Permanent: the question was repeated already, and each repeat costs tokens.
    """

    default_code = Code.VENDOR_FAILED


class FetchRefused(Permanent):
    """A URL that must not be fetched (scheme, host), or a file over the limit: no later look would change that."""


class BadQuestion(Permanent):
    """The backend rejects a question as malformed: a defect on one of the two sides, which no repeat mends.

    Never raised for a callback: a verdict is delivered whatever the backend answers.
    """


class NotSold(Permanent):
    """The backend does not sell what a user asked the API for.

    Args:
        message: the reason.
        status: the backend's answer: 402 without quota, 409, 422 for another purchase under the same key, or 429.
        retry_after: seconds it asked to wait, if it did.
    """

    def __init__(self, message: str = "", *, status: int = 409, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status


class CheckFailed(Permanent):
    """A checked part of a deployment answers wrongly. The text is for operators, and complete.

    Args:
        message: what is wrong.
        remedy: what to do about this very fault; empty for the remedy of the check.
    """

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class WeakSecret(Permanent):
    """A configured secret is too short to sign with: an error of the deployment, never of the task."""


class CreateUnknown(Unknown):
    """A paid create was sent and its outcome is unknown."""


class BadPicture(Rejected):
    """Not a picture the platform can process."""

    default_code = Code.BAD_PICTURE


class BadVideo(Rejected):
    """Not a video the platform can read."""

    default_code = Code.BAD_VIDEO


class TicketRefused(Rejected):
    """Kind or parameters are not the ones the backend sold: ticket missing, invalid or expired (see `code`)."""

    default_code = Code.TICKET_INVALID
