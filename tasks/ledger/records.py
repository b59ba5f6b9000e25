"""The records of the ledger: each is created once and final. Stored as JSON objects, because operators read them.

Who writes which is told in `docs/architecture.md`. Fields are only added, with defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from messages.codec import Priority
from messages.codes import Code

__all__ = [
    "Accepted",
    "Begun",
    "Cleaned",
    "DeadLetter",
    "Delivered",
    "End",
    "GivenUp",
    "InputRef",
    "Intent",
    "JobId",
    "ManifestItem",
    "Product",
    "Record",
    "Refused",
    "Reopened",
    "Status",
    "Verdict",
    "Withdrawn",
]

Status = Literal["success", "failed", "cancelled"]


class InputRef(msgspec.Struct, frozen=True):
    """An input as it was when the task was accepted; reads insist on its ETag."""

    key: str
    etag: str
    size: int


class Accepted(msgspec.Struct, frozen=True):
    """`accepted`: the run exists, and what it is."""

    kind: str
    params: Mapping[str, Any]
    inputs: tuple[InputRef, ...]
    created: float
    """Seconds since the epoch, by the store's clock."""
    deadline: float
    """Seconds since the epoch at which the run is out of time."""
    priority: Priority = Priority.NORMAL
    traceparent: str = ""
    ticket_expires: int = 0
    """When the ticket that was shown ends, seconds since the epoch; 0 when none was. The ticket itself is not kept."""


class Product(msgspec.Struct, frozen=True):
    """One picture that the clean stage made, in staging."""

    key: str
    etag: str
    size: int
    extension: str


class Cleaned(msgspec.Struct, frozen=True):
    """`cleaned`: what the clean stage made, in the order of the inputs."""

    products: tuple[Product, ...]


class Begun(msgspec.Struct, frozen=True):
    """`begun-{stage}-{seq}`: a message has begun its work."""

    message_id: str
    attempt: int
    limit_s: float
    """After which its writer is taken for dead."""


class Intent(msgspec.Struct, frozen=True):
    """`vendor-{n}`: the n-th paid call is about to be sent."""

    vendor: str
    open_s: float
    """How long its outcome may stay open before it counts as unknown: the create limit and 30 s."""


class JobId(msgspec.Struct, frozen=True):
    """`vendor-{n}-id`: the vendor accepted it."""

    job: str


class End(msgspec.Struct, frozen=True):
    """`vendor-{n}-end`: not accepted (`refused`), or accepted and ended badly (`failed`)."""

    how: Literal["refused", "failed"]
    code: Code = Code.VENDOR_FAILED


class GivenUp(msgspec.Struct, frozen=True):
    """`vendor-{n}-given-up`: its outcome stayed unknown, and policy `resend` makes the next call."""


class ManifestItem(msgspec.Struct, frozen=True):
    """One result: where it was staged, where it is shown."""

    source: str
    target: str
    etag: str
    size: int


class Verdict(msgspec.Struct, frozen=True):
    """`verdict`: the one end of a run."""

    status: Status
    code: str = ""
    """Of the catalogue; empty for a success."""
    manifest: tuple[ManifestItem, ...] = ()
    job: str = ""
    """The vendor's job that brought the results."""


class Delivered(msgspec.Struct, frozen=True):
    """`delivered`: the backend has acknowledged the verdict."""

    http_status: int
    conflict: bool = False
    """The backend did not say that it has our verdict."""
    contrary: bool = False
    """It keeps the contrary one, which decides what is visible."""


class Withdrawn(msgspec.Struct, frozen=True):
    """`withdrawn`: after a 409 without a verdict the backend said that it keeps the contrary one."""


class Reopened(msgspec.Struct, frozen=True):
    """`reopened`: the backend agreed to a replay, which no command starts yet."""


class Refused(msgspec.Struct, frozen=True):
    """`refused`: the backend did not agree to a replay (see `Reopened`), or it came too late."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A record of the dead-letter desk."""

    reason: str
    topic: str
    stage: str
    code: str
    error: str
    fingerprint: str
    original: str
    encoding: str
    message_id: str
    user: str
    task: str
    step: int
    run: int
    attempt: int
    traceparent: str
    at: float
    """When it was recorded, seconds since the epoch."""
    n: int = 0
    verdict: str = ""
    """What the failure function saw fit: reject (verdict `failed`), finish, or leave (record only)."""


Record = (
    Accepted
    | Begun
    | Cleaned
    | DeadLetter
    | Delivered
    | End
    | GivenUp
    | Intent
    | JobId
    | Refused
    | Reopened
    | Verdict
    | Withdrawn
)
