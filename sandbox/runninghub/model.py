"""Data of the stand-in: keys, workflows, jobs, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from sandbox.spoiled_files import FILE_FAULTS

__all__ = [
    "DEMO_WORKFLOWS",
    "DEMO_WORKFLOW_ID",
    "Failure",
    "Fault",
    "FieldType",
    "Job",
    "KeyLimits",
    "Refusal",
    "Shape",
    "State",
    "Upload",
]

State = Literal["QUEUED", "RUNNING", "SUCCESS", "FAILED", "CANCEL"]

_QUEUED_SHARE: Final = 0.2
"""Share of a job's duration in which it is queued."""

_MESSAGES: Final = MappingProxyType(
    {
        "301": "PARAMS_INVALID",
        "380": "WORKFLOW_NOT_EXISTS",
        "415": "TASK_INSTANCE_MAXED",
        "416": "TASK_CREATE_FAILED_BY_NOT_ENOUGH_WALLET",
        "421": "api queue limit reached, please retry later",
        "802": "APIKEY_UNAUTHORIZED",
        "803": "APIKEY_INVALID_NODE_INFO",
        "804": "APIKEY_TASK_IS_RUNNING",
        "805": "APIKEY_TASK_STATUS_ERROR",
        "807": "APIKEY_TASK_NOT_FOUND",
        "808": "APIKEY_UPLOAD_FAILED",
        "809": "APIKEY_FILE_SIZE_EXCEEDED",
        "811": "CORPAPIKEY_INVALID",
        "813": "APIKEY_TASK_IS_QUEUED",
        "1000": "unknown error",
        "1501": "content did not pass the review",
    }
)

_ANSWERS: Final = frozenset({"answer", "unauthorized", "error", "not_json", "cut", "hang"})
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "create": _ANSWERS | {"no_id", "tips", "number"},
    "upload": _ANSWERS,
    "query": _ANSWERS | {"expired_urls", "null"},
    "status": _ANSWERS,
    "queue": _ANSWERS,
    "cancel": _ANSWERS,
    "job": frozenset({"fail", "violate", "short", "late"}),
    "file": FILE_FAULTS,
    "webhook": frozenset({"late", "twice", "never", "early", "forged"}),
}


class KeyLimits(msgspec.Struct, frozen=True):
    """Limits of a key."""

    concurrent: int = 3
    """Greatest number of unfinished jobs (docs/reference/vendors.md, limits)."""
    kind: Literal["NORMAL", "SHARED", "EXCLUSIVE"] = "SHARED"


FieldType = Literal["upload", "video", "text", "url", "video_url"]
"""Type of a node field's value: an uploaded picture or video, a text, or a URL of one, which the vendor downloads."""


class Shape(msgspec.Struct, frozen=True):
    """Interface of a workflow."""

    fields: Mapping[str, Mapping[str, FieldType]]
    """Node id -> field -> type of its value."""
    output: str = "9"
    """Id of the node whose files are the results."""
    preview: str = "21"
    """Id of a node that saves a preview among them."""
    caption: str = "30"
    """Id of a node that yields text only."""
    count: int = 12
    """Number of results of a job."""
    media: Literal["image", "video"] = "image"
    """Media of the results: png pictures or mp4 videos. The preview is a picture."""


DEMO_WORKFLOW_ID: Final = "1990000000000000012"
"""A workflow: node 10 takes a photo, or node 11 its URL; node 6 takes a prompt; node 9 saves 12 pictures."""

_TRYON: Final[Mapping[str, Mapping[str, FieldType]]] = MappingProxyType(
    {"20": {"image": "upload"}, "6": {"text": "text"}, "3": {"seed": "text"}}
)

DEMO_WORKFLOWS: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        DEMO_WORKFLOW_ID: Shape(
            {"10": {"image": "upload"}, "11": {"url": "url"}, "6": {"text": "text"}, "3": {"seed": "text"}}
        ),
        "1990000000000000021": Shape(
            {"10": {"image": "upload"}, **_TRYON}, output="40", preview="40", count=1, media="video"
        ),
        "1990000000000000022": Shape(
            {"12": {"video": "video"}, "13": {"video": "video_url"}, **_TRYON},
            output="40",
            preview="40",
            count=1,
            media="video",
        ),
    }
)
"""Default workflows of a stand-in: twelve pictures, and videos of a person's picture or video and a garment. The node
that saves a video lists a preview of it too, as the usual one does (docs/reference/vendors.md)."""


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault, and how often or how long it occurs."""

    on: Literal["create", "upload", "query", "status", "queue", "cancel", "job", "file", "webhook"]
    """Affected call: `query` is v2's query and v1's `outputs`, `queue` also `accountStatus`, `status` v1's only."""
    kind: str = "answer"
    """Kind of the fault.

    - Of a call: `answer` (with `code`), `unauthorized` (401, code -1), `error` (HTTP `status`), `not_json`,
      `cut`, `hang`.
    - Of a create also: `no_id` (success without an id), `tips` (node errors beside the id), `number` (id as a number).
    - Of a query also: `expired_urls`, and in v1 `null` (code 0 without data, an older answer for a running job).
    - Of a job: `fail` (with `code`, or 805), `violate` (1501), `short` (one picture less), `late` (5 times as long).
    - Of a file: see `sandbox.spoiled_files.FILE_FAULTS`.
    - Of a webhook: `late`, `twice`, `never`, `early` (before the create is answered), `forged`.
    """
    code: str = ""
    status: int = 500
    times: int = 1
    seconds: float = 0.0
    """If not 0: seconds from the first affected call during which every call is affected."""
    accepted: bool = False
    """True if the affected call takes effect, and only its answer is faulty."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS[self.on]:
            raise ValueError(f"{self.on} knows {', '.join(sorted(_KINDS[self.on]))}")
        if (self.kind == "answer") != bool(self.code) and self.kind != "fail":
            raise ValueError("an answer needs a code, and of the other kinds only fail takes one")


class Refusal(Exception):
    """Business error: HTTP 200 with a code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message or _MESSAGES.get(code, f"ERROR_{code}")


class Upload(msgspec.Struct, frozen=True):
    """Uploaded file."""

    key: str
    path: str
    media: Literal["image", "video", ""]
    """Media by its content; empty for neither."""


class Failure(msgspec.Struct, frozen=True):
    """Reason why a job fails."""

    code: str
    reason: Mapping[str, Any]


@dataclass(kw_only=True)
class Job:
    """Job of the vendor."""

    id: str
    number: int
    key: str
    workflow: str
    shape: Shape
    values: Mapping[str, str]
    """`node.field` -> value."""
    photos: tuple[Upload, ...]
    created: float
    duration: float
    webhook: str
    base_url: str
    failure: Failure | None
    count: int
    cancelled: float | None = None
    queries: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is cancelled."""

    @property
    def ends(self) -> float:
        """End of the job, by the core's clock."""
        return self.created + self.duration if self.cancelled is None else self.cancelled

    def state(self, now: float) -> State:
        """Return the state at a time."""
        if self.cancelled is not None:
            return "CANCEL"
        if now < self.created + self.duration * _QUEUED_SHARE:
            return "QUEUED"
        if now < self.ends:
            return "RUNNING"
        return "FAILED" if self.failure else "SUCCESS"
