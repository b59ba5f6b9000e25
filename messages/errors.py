"""Root of every error that this product raises on purpose.

    ScfWorkersError          code and retry class, as data on the class
    ├── Transient            this call failed and may succeed later: an attempt is spent
    ├── Outage               a whole service is down or full: wait, no attempt is spent
    ├── Permanent            retries cannot help: dead letter
    │   ├── InvalidMessage   bytes that are no message of ours
    │   │   ├── BadSignature     signed wrongly, by a key that may not, or not at all
    │   │   └── NewerMessage     its header can be read; its stage, schema or key is not known here
    │   ├── MessageTooLarge  over the limit of one message
    │   └── NotSigned        no key here may sign a message of its stage
    ├── Unknown              a paid call whose outcome is unknown
    └── Rejected             the task's own fault: verdict `failed` at once
        └── InvalidKey       an object key or an id that breaks the key rules

Other packages define subclasses, most of them in a module named `errors`; every one descends from a class shown here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from messages.codes import Code

__all__ = [
    "BadSignature",
    "InvalidKey",
    "InvalidMessage",
    "MessageTooLarge",
    "NewerMessage",
    "NotSigned",
    "Outage",
    "Permanent",
    "Rejected",
    "RetryClass",
    "ScfWorkersError",
    "Transient",
    "Unknown",
]


class RetryClass(StrEnum):
    """Reaction of the engine to an error."""

    TRANSIENT = "transient"
    """Publish a copy with attempt + 1 after a backoff."""
    OUTAGE = "outage"
    """Publish a copy with the same attempt and pause the topic."""
    PERMANENT = "permanent"
    """Dead letter."""
    UNKNOWN = "unknown"
    """Leave the paid call open until its limit has passed."""
    REJECTED = "rejected"
    """Verdict `failed` with the error's code."""


class ScfWorkersError(Exception):
    """Root of the tree.

    Args:
        message: for operators; never leaves the system.
        code: replaces the class's code.
        retry_after: seconds to wait that the other side asked for, if it did.
    """

    default_code: ClassVar[Code] = Code.INTERNAL
    retry: ClassVar[RetryClass] = RetryClass.TRANSIENT
    least_delay: ClassVar[float] = 0.0
    """Least delay in seconds before the next attempt after a transient error."""
    whole_service: ClassVar[bool] = False
    """The whole service is unavailable: other tasks would fail too, so the topic is paused."""

    def __init__(self, message: str = "", *, code: Code | None = None, retry_after: float | None = None) -> None:
        super().__init__(message or type(self).__name__)
        self.code: Code = code or self.default_code
        self.retry_after = retry_after


class Transient(ScfWorkersError):
    """This task's call failed and may succeed later."""

    retry = RetryClass.TRANSIENT


class Outage(ScfWorkersError):
    """A whole service is down or full."""

    default_code = Code.BUSY
    retry = RetryClass.OUTAGE


class Permanent(ScfWorkersError):
    """Retries cannot help."""

    retry = RetryClass.PERMANENT


class Unknown(ScfWorkersError):
    """A paid call was sent, and it is unknown whether it was accepted."""

    default_code = Code.VENDOR_UNKNOWN
    retry = RetryClass.UNKNOWN


class Rejected(ScfWorkersError):
    """The task's own fault; retries cannot help."""

    retry = RetryClass.REJECTED


class InvalidMessage(Permanent):
    """Bytes that are no message of ours, or of a stage or schema this build does not know."""

    default_code = Code.UNREADABLE


class BadSignature(InvalidMessage):
    """A message that is signed wrongly, by a key that may not sign its stage, or not at all."""


class NewerMessage(InvalidMessage):
    """A readable header with a stage, schema or key id that this build does not know: a newer one may.

    Args:
        message: for operators.
        created: as the header says, seconds since the epoch.
    """

    def __init__(self, message: str = "", *, created: float = 0.0) -> None:
        super().__init__(message)
        self.created = created


class NotSigned(Permanent):
    """There are keys, and none of them may sign a message of this stage."""


class MessageTooLarge(Permanent):
    """A message over `messages.codec.MAX_MESSAGE_BYTES`."""


class InvalidKey(Rejected):
    """An object key or id that breaks the rules of `messages.keys`."""

    default_code = Code.INVALID_ID
