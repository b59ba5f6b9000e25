"""The records of the ledger: each is created once and final. Stored as JSON objects, because operators read them.

`docs/architecture.md` says who writes which. Each class knows its name (`Verdict.at()`, `JobId.at(slot, n)`), and
`parse_name` reads a name back. Fields are only added, with defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import msgspec

from messages.codec import Priority
from messages.codes import Code
from services.vendors.usage import Usage
from tasks.ledger.names import OfCall, OfMessage, OfSlot, OfTurn, Once, RecordBase, pattern_of

__all__ = [
    "RECORDS",
    "Accepted",
    "AuditJobs",
    "Begun",
    "CallEnd",
    "CallResult",
    "Cleaned",
    "Collected",
    "DeadLetter",
    "Delivered",
    "Erased",
    "FetchedInputs",
    "InputRef",
    "Intent",
    "JobId",
    "ManifestItem",
    "ParsedName",
    "Product",
    "Prompted",
    "ReopenDenied",
    "Reopened",
    "Reopening",
    "SlotEnd",
    "Staged",
    "StagedFile",
    "StagedResult",
    "Status",
    "Stopped",
    "Verdict",
    "VideoLabels",
    "Waits",
    "Withdrawn",
    "parse_name",
]

Status = Literal["success", "failed", "cancelled"]


class InputRef(msgspec.Struct, frozen=True):
    """An input as it was when the task was accepted; reads insist on its ETag."""

    key: str
    """Empty for a URL."""
    etag: str
    size: int
    url: str = ""
    """URL to fetch it from, shown to no client; the first stage stores the picture (`FetchedInputs`)."""


class Accepted(Once, frozen=True):
    """`accepted`: the run exists; its order, deadline and slots."""

    template: ClassVar[str] = "accepted"

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
    vendor: str = ""
    """Vendor that is paid for it; empty for a kind without a vendor."""
    slots: int = 1
    """Paid calls that the run needs at once."""
    enough: int = 1
    """Slots that must succeed."""
    last_call: float = 0.0
    """When the results of `enough` slots are taken though others still work, seconds since the epoch; 0 for never."""


class FetchedInputs(Once, frozen=True):
    """`fetched`: the inputs after those given as URLs were stored, as `accepted` lists them; later runs use it too."""

    template: ClassVar[str] = "fetched"

    inputs: tuple[InputRef, ...]


class Product(msgspec.Struct, frozen=True):
    """An input in staging, as the clean stage made it fit (a picture, or a copy of a video), or a still of a result."""

    key: str
    etag: str
    size: int
    extension: str


class Cleaned(Once, frozen=True):
    """`cleaned`: the products of the clean stage, in the order of the inputs."""

    template: ClassVar[str] = "cleaned"

    products: tuple[Product, ...]


class Prompted(Once, frozen=True):
    """`prompted`: the text that the paid calls send, or that is the result; it has passed its audit."""

    template: ClassVar[str] = "prompted"

    text: str
    source: Literal["model", "cache", "template"]
    usage: Usage = Usage()


class Begun(OfMessage, frozen=True):
    """`begun-{stage}-{seq}`, of generate and poll `begun-{stage}.{slot}-{seq}`: a message has begun its work."""

    template: ClassVar[str] = "begun-{place}-{seq}"

    message_id: str
    attempt: int
    limit_s: float
    """After which its writer is taken for dead."""


class Intent(OfCall, frozen=True):
    """`call-{slot}-{n}`: the n-th paid call of a slot is about to be sent."""

    template: ClassVar[str] = "call-{slot}-{n}"

    vendor: str
    open_s: float
    """Seconds for which its outcome may stay open before it counts as Unknown: the create limit and 30 s."""
    label: str = ""
    """Label of the vendor's key that it uses; empty for any."""


class JobId(OfCall, frozen=True):
    """`call-{slot}-{n}-id`: the vendor accepted it."""

    template: ClassVar[str] = "call-{slot}-{n}-id"

    job: str


class CallResult(OfCall, frozen=True):
    """`call-{slot}-{n}-result`: results that came with the create's answer, stored before any download."""

    template: ClassVar[str] = "call-{slot}-{n}-result"

    files: tuple[str, ...]
    """Short-lived URLs in the vendor's order; they are shown to no client."""
    usage: Usage = Usage()


class CallEnd(OfCall, frozen=True):
    """`call-{slot}-{n}-end`: not accepted, or accepted and ended badly (`failed`)."""

    template: ClassVar[str] = "call-{slot}-{n}-end"

    how: Literal["not_accepted", "failed"]
    code: Code = Code.VENDOR_FAILED
    usage: Usage = Usage()
    """Of a failed one: vendors charge for some of them."""


class SlotEnd(OfSlot, frozen=True):
    """`slot-{slot}`: the end of a slot: good (a paid call brought its results), or bad."""

    template: ClassVar[str] = "slot-{slot}"

    good: bool
    n: int = 0
    """The paid call that decided; 0 for none."""
    code: str = ""
    """Code of the catalogue; empty for a good one."""
    usage: Usage = Usage()


class ManifestItem(msgspec.Struct, frozen=True):
    """A result: its staging key and its output key."""

    source: str
    target: str
    etag: str
    size: int


class AuditJobs(OfMessage, frozen=True):
    """`audits-{stage}-{seq}`: audits of videos that are at work. A next one, from 0, replaces those that failed."""

    template: ClassVar[str] = "audits-{place}-{seq}"

    jobs: Mapping[str, str]
    """Key of a video -> the service's id of the job."""
    products: tuple[Product, ...] = ()
    """Of the clean stage: all that it has made, and audited but for the videos."""


class StagedFile(msgspec.Struct, frozen=True):
    """A result in staging, as a collect that left off has stored it."""

    key: str
    etag: str
    size: int
    digest: str
    """Digest of the path of the vendor's URL, by which a file is recognised."""
    still: Product | None = None
    """The still beside a video, where its kind has one."""


class StagedResult(msgspec.Struct, frozen=True):
    """A result in staging, before its audit."""

    key: str
    etag: str
    size: int
    slot: int = 1
    """The slot that made it, from 1."""
    extension: str = "jpg"
    still: bool = False
    """It is the still of the video before it."""


class Collected(OfTurn, frozen=True):
    """`collected-{seq}`: the files that are staged already, if a collect left off after an error."""

    template: ClassVar[str] = "collected-{seq}"

    files: tuple[StagedFile, ...]


class Staged(Once, frozen=True):
    """`staged`: the run's set of results. The one that stands is audited and shown; nothing else of the run counts."""

    template: ClassVar[str] = "staged"

    files: tuple[StagedResult, ...]
    degraded: tuple[str, ...] = ()
    """Replacements so far, see `Verdict.degraded`."""
    job: str = ""
    """The vendor's job that brought the first results."""


class VideoLabels(OfTurn, frozen=True):
    """`labels-{seq}`: visible labels of videos, as far as a look at them found. The newest holds; they count from 0."""

    template: ClassVar[str] = "labels-{seq}"

    jobs: Mapping[str, str]
    """Key of a staged video -> the service's id of the job that is at work on it."""
    done: Mapping[str, Product] = {}
    """Key of a staged video -> the file with the label, which is audited and shown in its place."""


class Waits(OfMessage, frozen=True):
    """`waits-{stage}-{seq}`: why a run waits: at the first snooze of a reason, then at each doubling of the wait."""

    template: ClassVar[str] = "waits-{place}-{seq}"

    why: str
    """`user_cap`, `vendor_full`, `spend_cap`, `paused` (by an operator), `call_open`, or the class of the error."""
    until: float
    """When the message comes again, seconds since the epoch by the store's clock."""
    since: float
    """When the wait for this reason began, likewise."""


class Stopped(OfMessage, frozen=True):
    """`stopped-{stage}-{seq}`: why the engine gave a message up; written before its dead letter."""

    template: ClassVar[str] = "stopped-{place}-{seq}"

    reason: str
    """A `messages.bodies.Reason`."""
    code: str
    """Code of the catalogue."""
    error: str
    """Class of the error."""
    place: str = ""
    """Module and function that raised it."""
    detail: str = ""
    """The error's text, redacted and cut."""
    attempts: int = 0
    """Attempts that were spent."""
    n: int = 0
    """The paid call at fault; 0 for none."""
    slot: int = 0
    """The slot at fault, from 1; 0 for a fault of the whole run."""


class Verdict(Once, frozen=True):
    """`verdict`: the one end of a run."""

    template: ClassVar[str] = "verdict"

    status: Status
    code: str = ""
    """Code of the catalogue; empty for a success."""
    manifest: tuple[ManifestItem, ...] = ()
    job: str = ""
    """The vendor's job that brought the results."""
    degraded: tuple[str, ...] = ()
    """Replacements: `prompt_template`, `original_input`, `fewer_results`; empty where all is as sold."""
    text: str = ""
    """The result of a kind that sells a text."""


class Delivered(Once, frozen=True):
    """`delivered`: the backend has acknowledged the verdict."""

    template: ClassVar[str] = "delivered"

    http_status: int
    conflict: bool = False
    """The backend did not confirm our verdict."""
    contrary: bool = False
    """The backend keeps the contrary verdict, which decides what is visible."""
    sent: str = ""
    """The body of the callback, redacted and cut."""
    answered: str = ""
    """The body of the backend's answer, redacted and cut."""


class Withdrawn(Once, frozen=True):
    """`withdrawn`: after a 409 without a verdict the backend said that it keeps the contrary one."""

    template: ClassVar[str] = "withdrawn"


class Reopening(Once, frozen=True):
    """`reopening`: settles for a replay whether the backend is asked; created before the question."""

    template: ClassVar[str] = "reopening"

    asked: bool = True
    """False if the replay's deadline had passed before any question: then none is sent."""


class Reopened(Once, frozen=True):
    """`reopened`: the backend agreed to a replay and has charged what it had refunded."""

    template: ClassVar[str] = "reopened"


class ReopenDenied(Once, frozen=True):
    """`reopen_denied`: the backend did not agree to a replay, or its deadline passed before the question."""

    template: ClassVar[str] = "reopen_denied"


class Erased(Once, frozen=True):
    """`erased`: an operator had the user's data erased; the run's other records keep no content."""

    template: ClassVar[str] = "erased"


class DeadLetter(msgspec.Struct, frozen=True):
    """`dead/{day}/{fingerprint}/{id}`: a dead letter, as the failure function recorded it."""

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
    """Decision of the failure function: fail (verdict `failed`), finish, leave (record only), wake (likewise, and look
    at the run), or collect (enough slots are good without this one)."""
    detail: str = ""
    """The error's text, redacted and cut."""
    place: str = ""
    """Module and function that raised it."""


RECORDS: Final[tuple[type[RecordBase], ...]] = (
    Accepted,
    FetchedInputs,
    AuditJobs,
    Cleaned,
    Prompted,
    Begun,
    Intent,
    JobId,
    CallResult,
    CallEnd,
    SlotEnd,
    Collected,
    Staged,
    VideoLabels,
    Waits,
    Stopped,
    Verdict,
    Delivered,
    Withdrawn,
    Reopening,
    Reopened,
    ReopenDenied,
    Erased,
)
"""Every record of a run, in the order of its life."""

_PATTERNS: Final = tuple((kind, pattern_of(kind.template)) for kind in RECORDS)


class ParsedName(msgspec.Struct, frozen=True):
    """The parts of a record's name."""

    kind: type[RecordBase]
    slot: int = 0
    """From 1; 0 where the name has none."""
    n: int = 0
    """Number of the paid call in its slot, from 1; 0 where the name has none."""
    stage: str = ""
    seq: int = 0


def parse_name(text: str) -> ParsedName | None:
    """Read a record's name back; None for a name that no class of this build has."""
    for kind, pattern in _PATTERNS:
        if found := pattern.fullmatch(text):
            parts = found.groupdict()
            slot, n, seq = (int(parts.get(part) or 0) for part in ("slot", "n", "seq"))
            return ParsedName(kind, slot, n, parts.get("stage") or "", seq)
    return None
