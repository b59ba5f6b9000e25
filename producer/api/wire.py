"""Documents that travel between clients and the API, with names as requirement and clients have them (camelCase)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from messages.keys import ID_PATTERN
from tasks.lists.states import TaskState
from tasks.lists.statistics import Count, Durations

__all__ = [
    "MAX_INPUT_CHARS",
    "MAX_STEP",
    "CreateTask",
    "CreateUpload",
    "CreatedTask",
    "ErrorText",
    "Health",
    "PartHealth",
    "Problem",
    "ProgressEvent",
    "ResultFile",
    "SlotProgress",
    "StartStep",
    "Statistics",
    "TaskList",
    "TaskStatus",
    "TaskSummary",
    "UploadPart",
    "UploadTicket",
    "Waiting",
]

MAX_INPUT_CHARS: Final = 2048
"""Longest URL or key of an input."""

MAX_STEP: Final = 1_000_000
"""Highest step of a pipeline."""

_Input = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_INPUT_CHARS)]
_Id = Annotated[str, msgspec.Meta(pattern=rf"^{ID_PATTERN}$")]


class _Wire(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of everything that is sent."""


class _Asked(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is received: an unknown field is a mistake."""


class CreateTask(_Asked, frozen=True, kw_only=True):
    """A task of any kind."""

    kind: Annotated[str, msgspec.Meta(max_length=64)]
    """Kind of work, such as `basic_clean`."""
    params: Mapping[str, Any] = {}
    """Parameters of the kind. They never name or replace inputs."""
    inputs: Annotated[tuple[_Input, ...], msgspec.Meta(max_length=100)] = ()
    """Inputs in order: https URLs, or keys of your own objects (`input/…`, `output/…`)."""


class CreateUpload(_Asked, frozen=True, kw_only=True):
    """A task whose inputs the client uploads itself."""

    kind: Annotated[str, msgspec.Meta(max_length=64)]
    """Kind of work, such as `basic_clean`."""
    params: Mapping[str, Any] = {}
    """Parameters of the kind."""
    extensions: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,10}$")], ...],
        msgspec.Meta(min_length=1, max_length=100),
    ]
    """Extension of each file, such as `jpg`, in the order of the inputs."""


class StartStep(_Asked, frozen=True, kw_only=True):
    """The next step of a pipeline, started by the backend."""

    user_id: _Id
    """User who bought the task."""
    task_id: _Id
    """The task."""
    step: Annotated[int, msgspec.Meta(ge=1, le=MAX_STEP)]
    """Number of the step, from 1; the first step of the pipeline is 0."""
    kind: Annotated[str, msgspec.Meta(max_length=64)]
    """Kind of work of this step."""
    ticket: str
    """The backend's ticket for this step."""
    params: Mapping[str, Any] = {}
    """Parameters of the kind."""
    inputs: Annotated[tuple[_Input, ...], msgspec.Meta(max_length=100)] = ()
    """Keys of the user's own objects, such as results of the step before."""


class CreatedTask(_Wire, frozen=True, kw_only=True):
    """A task that was sold. Work on it has begun or will begin."""

    task_id: str
    """Id of the task."""
    kind: str
    """Kind of work."""
    state: TaskState
    """State of the task."""
    status_url: str
    """Path of the task's status."""
    events_url: str
    """Path of the task's events."""


class UploadPart(_Wire, frozen=True, kw_only=True):
    """PUT that the client sends."""

    url: str
    """Presigned URL."""
    headers: Mapping[str, str]
    """Headers to send with it, unchanged."""
    body: str = ""
    """Body to send; empty for the client's own file."""


class UploadTicket(_Wire, frozen=True, kw_only=True):
    """A task that was sold, and the uploads that start it."""

    task_id: str
    """Id of the task."""
    kind: str
    """Kind of work."""
    uploads: tuple[UploadPart, ...]
    """In this order: the last one starts the task."""
    expires_at: str
    """When the URLs expire, RFC 3339."""
    status_url: str
    """Path of the task's status."""


class SlotProgress(_Wire, frozen=True, kw_only=True):
    """Progress of the parts of a task."""

    done: int
    """Parts with results. A part is a paid call; a kind without one has a single part."""
    of: int
    """Parts in all."""


class Waiting(_Wire, frozen=True, kw_only=True):
    """Reason why a task waits now."""

    why: Literal[
        "queued",
        "upload",
        "user_cap",
        "vendor_full",
        "vendor_working",
        "vendor_away",
        "backend_away",
        "paused",
        "retry",
    ]
    """The reason."""
    until: str | None = None
    """When it is looked at again, RFC 3339, if known."""


class ResultFile(_Wire, frozen=True, kw_only=True):
    """A result."""

    name: str
    """Name of the file."""
    url: str
    """Presigned URL; ask for the status again after `expiresAt`."""
    expires_at: str
    """When the URL expires, RFC 3339."""
    size: int
    """Length in bytes."""


class ErrorText(_Wire, frozen=True, kw_only=True):
    """Reason of a failure."""

    code: str
    """Stable code, for programs."""
    message: str
    """Text for people, in Chinese."""


class TaskSummary(_Wire, frozen=True, kw_only=True):
    """A task in a list."""

    task_id: str
    """Id of the task."""
    kind: str
    """Kind of work."""
    state: TaskState
    """State of the task."""
    stage: str | None = None
    """Stage of the work while it is not finished."""
    created_at: str | None = None
    """RFC 3339; null before acceptance."""
    error: ErrorText | None = None
    """Why it failed; null unless it did."""


class TaskStatus(TaskSummary, frozen=True, kw_only=True):
    """The state of a task."""

    step: int = 0
    """Step of the pipeline; 0 for a task of one step."""
    progress: SlotProgress
    """Progress of its parts."""
    waiting: Waiting | None = None
    """Why it waits now; null if it does not."""
    deadline_at: str | None = None
    """When it fails if it has not ended, RFC 3339; null before acceptance."""
    expected_seconds: int | None = None
    """Estimate of the time that is left; null where there is none."""
    results: tuple[ResultFile, ...] = ()
    """Results of a success, in order."""
    text: str | None = None
    """Result of a kind that sells a text."""
    degraded: tuple[str, ...] = ()
    """Replacements, such as `prompt_template` or `fewer_results`."""
    delivered: bool = False
    """True once the backend has acknowledged the end."""
    trace_id: str | None = None
    """Trace of the work, for those who operate the workers; null before acceptance."""


class ProgressEvent(_Wire, frozen=True, kw_only=True):
    """An event of the stream: the state after a step of the work."""

    task_id: str
    """Id of the task."""
    state: TaskState
    """State of the task."""
    stage: str | None
    """Stage of the work; null before it begins and after it ends."""
    progress: SlotProgress
    """Progress of its parts."""
    waiting: Waiting | None = None
    """Why it waits now; null if it does not."""
    error: ErrorText | None = None
    """Why it failed; null unless it did."""
    at: str | None = None
    """When the step happened, RFC 3339; null before acceptance."""
    expected_seconds: int | None = None
    """Estimate of the time that is left; null where there is none, and in events of the past."""


class TaskList(_Wire, frozen=True, kw_only=True):
    """A page of tasks, newest first."""

    tasks: tuple[TaskSummary, ...]
    """The tasks of this page."""
    cursor: str | None = None
    """Cursor of the next page; null on the last one. A page may be shorter than its limit, even empty."""


class Statistics(_Wire, frozen=True, kw_only=True):
    """Finished tasks of a window of time."""

    since: str
    """Begin of the window, RFC 3339."""
    until: str
    """End of the window, RFC 3339."""
    total: str
    """Number of tasks; `1000+` where counting stopped."""
    complete: bool
    """False where counting stopped: everything below covers the newest tasks only."""
    counts: tuple[Count, ...]
    """Number of tasks by kind, state and code."""
    wait: Durations | None
    """From acceptance until work began; null without tasks."""
    run: Durations | None
    """From the begin of work until the end; null without tasks."""
    cost: Mapping[str, str]
    """Currency or unit -> sum, where vendors report costs."""


class PartHealth(_Wire, frozen=True, kw_only=True):
    """Reachability of one service."""

    ok: bool
    """True if it answers."""
    milliseconds: int
    """Duration of the check."""


class Health(_Wire, frozen=True, kw_only=True):
    """Reachability of what the API needs."""

    status: Literal["ok", "degraded"]
    """`degraded` if a service is away without which no task can be sold."""
    parts: Mapping[str, PartHealth] = {}
    """Service -> its health."""


class Problem(_Wire, frozen=True, kw_only=True):
    """A problem (RFC 9457)."""

    type: str = "about:blank"
    """Always `about:blank`; programs read `code`."""
    title: str
    """Name of the HTTP status."""
    status: int
    """The HTTP status."""
    detail: str = ""
    """The fault, in English."""
    code: str = ""
    """Stable code, for programs."""
    message: str = ""
    """Text for people, in Chinese."""
    field: str = ""
    """Name of the field or parameter at fault; empty if there is none."""
    request_id: str = ""
    """Id of the request, also in the logs."""
