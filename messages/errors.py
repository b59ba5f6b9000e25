"""The root of every error this product raises on purpose.

    ScfWorkersError          code and retry class, as data on the class
    ├── Transient            this call failed and may work again: an attempt is spent
    ├── Outage               a service as such is down or full: wait, no attempt is spent
    ├── Permanent            will not work however often it is tried: dead letter
    │   ├── InvalidMessage   bytes that are no message of ours
    │   └── MessageTooLarge  over the limit of one message
    ├── Unknown              a paid call whose outcome nobody knows
    └── Rejected             the task's own fault: verdict `failed` straight away
        └── InvalidKey       an object key or an id that breaks the key rules

Each package has its own leaves in its own `errors` module; every one descends from a class drawn here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from messages.codes import Code

__all__ = [
    "InvalidKey",
    "InvalidMessage",
    "MessageTooLarge",
    "Outage",
    "Permanent",
    "Rejected",
    "RetryClass",
    "ScfWorkersError",
    "Transient",
    "Unknown",
]


class RetryClass(StrEnum):
    """What the engine does about an error."""

    TRANSIENT = "transient"
    """Publish a copy with attempt + 1 after a backoff."""
    OUTAGE = "outage"
    """Publish a copy with the same attempt and let the topic rest."""
    PERMANENT = "permanent"
    """Dead letter."""
    UNKNOWN = "unknown"
    """Leave the paid call open; its limit decides."""
    REJECTED = "rejected"
    """Verdict `failed` with the error's code."""


class ScfWorkersError(Exception):
    """Root of the tree.

    Args:
        message: for operators; never leaves the system.
        code: overrides the class's code of the catalogue.
        retry_after: seconds the other side asked us to wait, if it did.
    """

    default_code: ClassVar[Code] = Code.INTERNAL
    retry: ClassVar[RetryClass] = RetryClass.TRANSIENT
    least_delay: ClassVar[float] = 0.0
    """Seconds that a transient error waits at least before its next attempt."""
    whole_service: ClassVar[bool] = False
    """A service as such is away: other tasks would fare no better, so the topic rests."""

    def __init__(self, message: str = "", *, code: Code | None = None, retry_after: float | None = None) -> None:
        super().__init__(message or type(self).__name__)
        self.code: Code = code or self.default_code
        self.retry_after = retry_after


class Transient(ScfWorkersError):
    """This task's call failed and may work again."""

    retry = RetryClass.TRANSIENT


class Outage(ScfWorkersError):
    """A service as such is down, or full."""

    default_code = Code.BUSY
    retry = RetryClass.OUTAGE


class Permanent(ScfWorkersError):
    """Will not work however often it is tried."""

    retry = RetryClass.PERMANENT


class Unknown(ScfWorkersError):
    """A paid call was sent and nobody knows whether it was accepted."""

    default_code = Code.VENDOR_UNKNOWN
    retry = RetryClass.UNKNOWN


class Rejected(ScfWorkersError):
    """The task's own fault; nothing here would help by trying again."""

    retry = RetryClass.REJECTED


class InvalidMessage(Permanent):
    """Bytes that are no message of ours, or of a stage or schema this build does not know."""

    default_code = Code.UNREADABLE


class MessageTooLarge(Permanent):
    """A message over `messages.codec.MAX_MESSAGE_BYTES`."""


class InvalidKey(Rejected):
    """An object key or id that breaks the rules of `messages.keys`."""

    default_code = Code.INVALID_ID
