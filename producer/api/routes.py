"""Table of operations: routes and the OpenAPI document are both made from it, so they cannot differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec
from starlette.responses import Response

from producer.api import handlers
from producer.api.context import Call
from producer.api.modes import MODES
from producer.api.wire import (
    MAX_STEP,
    CreatedTask,
    CreateTask,
    CreateUpload,
    Health,
    StartStep,
    Statistics,
    TaskList,
    TaskStatus,
    UploadTicket,
)

__all__ = ["API_ROOT", "OPERATIONS", "Operation", "Param"]

API_ROOT: Final = "/api/v1/ai-generation"

_Handler = Callable[[Call], Awaitable[Response]]


class Param(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a query, a path or a header."""

    name: str
    text: str
    where: Literal["query", "path", "header"] = "query"
    schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "string"})
    example: Any = None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation of the API."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    summary: str
    text: str = ""
    handler: _Handler
    access: Literal["user", "backend", "open"] = "user"
    """Proof that a caller needs: a bearer token, the backend's signature, or none."""
    buys: bool = False
    """True if it counts against the user's limit of purchases, not against that of other requests."""
    request: type[msgspec.Struct] | None = None
    mode: str = ""
    """Name of the mode (`MODES`) that the request belongs to."""
    status: int = 200
    answer: type[msgspec.Struct] | None = None
    media: str = "application/json"
    headers: tuple[str, ...] = ()
    """Headers of its success besides those of every answer."""
    params: tuple[Param, ...] = ()
    problems: tuple[int, ...] = ()
    """Statuses of problems besides those that every operation of its access has."""


_KEY: Final = Param(
    name="Idempotency-Key",
    where="header",
    text="Names the purchase. The same key and body is the same task, charged once; another body is refused.",
    schema={"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
    example="b0c1a5e2-6f0e-4b1e-9d57-8a2f",
)
_TASK: Final = Param(name="id", where="path", text="Id of the task.", example="t-1")
_STEP: Final = Param(
    name="step",
    text="Step of a pipeline.",
    schema={"type": "integer", "minimum": 0, "maximum": MAX_STEP, "default": 0},
)


def _creating(*, path: str, name: str, summary: str, handler: _Handler, **more: Any) -> Operation:  # noqa: ANN401
    return Operation(
        method="POST",
        path=path,
        name=name,
        summary=summary,
        handler=handler,
        buys=True,
        status=202,
        answer=CreatedTask,
        headers=("Location", "Retry-After"),
        params=(_KEY,),
        problems=_REFUSED,
        **more,
    )


_REFUSED: Final = (402, 409, 413)
OPERATIONS: Final[tuple[Operation, ...]] = (
    *(
        _creating(
            path=f"/api/ai-image/{mode.name}",
            name=f"create-{mode.name}",
            summary=mode.summary,
            handler=handlers.create_by_mode(mode.kind, mode.field, many=mode.many),
            mode=mode.name,
        )
        for mode in MODES
    ),
    _creating(
        path=f"{API_ROOT}/create",
        name="create",
        summary="Create a task of any kind",
        handler=handlers.create,
        request=CreateTask,
    ),
    Operation(
        method="POST",
        path=f"{API_ROOT}/uploads",
        name="create-upload",
        summary="Create a task whose inputs you upload yourself",
        text="Send each of `uploads` with PUT, in order; the last one starts the task.",
        handler=handlers.create_upload,
        request=CreateUpload,
        status=201,
        answer=UploadTicket,
        headers=("Location",),
        buys=True,
        params=(_KEY,),
        problems=_REFUSED,
    ),
    Operation(
        method="GET",
        path=f"{API_ROOT}/tasks",
        name="list",
        summary="List your tasks, newest first",
        handler=handlers.list_tasks_of_user,
        answer=TaskList,
        params=(
            Param(
                name="limit",
                text="Most tasks of a page.",
                schema={"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            ),
            Param(name="cursor", text="`cursor` of the page before."),
            Param(
                name="state",
                text="Only tasks in this state.",
                schema={"type": "string", "enum": ["queued", "working", "success", "failed", "cancelled"]},
            ),
            Param(name="kind", text="Only tasks of this kind."),
        ),
        problems=(422,),
    ),
    Operation(
        method="GET",
        path=f"{API_ROOT}/tasks/{{id}}",
        name="status",
        summary="Return the state of a task",
        text="URLs of results are valid for an hour; each answer has new ones.",
        handler=handlers.status,
        answer=TaskStatus,
        headers=("ETag", "Retry-After"),
        params=(
            _TASK,
            _STEP,
            Param(
                name="wait",
                text="Seconds to wait for an end or, with `If-None-Match`, for a change.",
                schema={"type": "integer", "minimum": 0, "maximum": 25, "default": 0},
            ),
            Param(name="If-None-Match", where="header", text="`ETag` of an earlier answer."),
        ),
        problems=(304, 404, 422),
    ),
    Operation(
        method="DELETE",
        path=f"{API_ROOT}/tasks/{{id}}",
        name="cancel",
        summary="Cancel a task",
        text="The vendor's job is stopped and the quota refunded. Cancelling again is harmless.",
        handler=handlers.cancel,
        answer=TaskStatus,
        params=(_TASK, _STEP),
        problems=(404, 409, 422),
    ),
    Operation(
        method="GET",
        path=f"{API_ROOT}/tasks/{{id}}/events",
        name="events",
        summary="Stream the progress of a task",
        text=(
            "Server-Sent Events: `progress` with each change of the state, and `end`. Reconnect with `Last-Event-ID`."
            " Behind a Function URL the answer is 501: use `wait` instead."
        ),
        handler=handlers.events,
        media="text/event-stream",
        params=(
            _TASK,
            _STEP,
            Param(name="Last-Event-ID", where="header", text="`id` of the last event that was received."),
        ),
        problems=(404, 422, 501),
    ),
    Operation(
        method="GET",
        path=f"{API_ROOT}/stats",
        name="stats",
        summary="Count finished tasks",
        text="Your own; all users' with a token of the role `operator` and `all=true`.",
        handler=handlers.stats,
        answer=Statistics,
        params=(
            Param(
                name="hours",
                text="Length of the window.",
                schema={"type": "integer", "minimum": 1, "maximum": 168, "default": 24},
            ),
            Param(name="all", text="Count all users' tasks.", schema={"type": "boolean", "default": False}),
        ),
        problems=(403, 422),
    ),
    Operation(
        method="POST",
        path="/internal/steps",
        name="start-step",
        summary="Start the next step of a pipeline",
        text="Signed by the backend like the questions that it receives: `X-Timestamp`, `X-Internal-Signature-V2`.",
        handler=handlers.start_next_step,
        access="backend",
        request=StartStep,
        status=202,
        answer=CreatedTask,
        headers=("Location", "Retry-After"),
        problems=(413,),
    ),
    Operation(
        method="GET",
        path="/health",
        name="health",
        summary="Return that the process answers",
        handler=handlers.health,
        access="open",
        answer=Health,
    ),
    Operation(
        method="GET",
        path="/health/scf",
        name="health-scf",
        summary="Return the reachability of broker, COS, ledger, backend and vendors",
        handler=handlers.health_of_parts,
        access="open",
        answer=Health,
    ),
)
"""Every operation."""
