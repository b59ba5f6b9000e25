"""HTTP interface of the stand-in backend.

POST /api/tasks {user_id, kind, params, step?, inputs?, priority?} sell: charges 1 -> task id, ticket, upload folder
POST /api/tasks/{id}/steps {kind, params}                          the next step of a pipeline
GET  /api/tasks/{id}, POST /api/tasks/{id}/cancel
POST /api/internal/tasks/{id}/steps/{n}/callback                   a verdict in the form `steps` (docs/backend.md)
POST /internal/task/update                                         a verdict in the older form `task_update`
POST /api/internal/tasks {user, kind, params, inputs, idempotency_key, request_digest}   a purchase through the API
GET  /api/internal/tasks/unfinished, GET …/steps/{n}               questions of the workers
POST /api/internal/tasks/{id}/steps/{n}/reopen                     question before a replay
GET  /_sandbox/quota?task_id=, PUT /_sandbox/quota {user_id, quota}, POST and DELETE /_sandbox/faults    for tests
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.backend.faults import Call, Fault, Faults
from sandbox.backend.quota_account import Purchase, QuotaAccount, ReceivedCallback
from sandbox.backend.signatures import RUN, Signatures
from sandbox.spoiled_answers import spoiled_answer

__all__ = ["TICKET_SECONDS", "create_app"]

TICKET_SECONDS: Final = 3600
"""Seconds until a ticket expires."""

_ID: Final = re.compile(r"(?!-\Z)[A-Za-z0-9_-]{1,64}\Z")
_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")

T = TypeVar("T")


class _Purchase(msgspec.Struct):
    kind: str
    user_id: str = ""
    params: dict[str, Any] = {}
    step: int = 0
    inputs: int = 1
    priority: Literal["high", "normal", "low"] = "normal"


class _Sale(msgspec.Struct):
    user: str
    kind: str
    inputs: int
    idempotency_key: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    request_digest: str
    params: dict[str, Any] = {}


class _Limit(msgspec.Struct):
    user_id: str
    quota: int


class _Output(msgspec.Struct):
    result_urls: tuple[str, ...] = msgspec.field(default=(), name="resultUrls")
    error_message: str = ""
    error_code: str = ""
    text: str = ""
    degraded: tuple[str, ...] = ()


class _StepVerdict(msgspec.Struct):
    status: Literal["success", "failed"]
    output: _Output


class _TaskUpdate(msgspec.Struct, rename="camel"):
    task_id: str
    status: Literal["done", "failed"]
    result_urls: tuple[str, ...] = ()
    error_reason: str = ""
    vendor_task_id: str = ""
    step_index: int = 0
    text: str = ""
    degraded: tuple[str, ...] = ()


def create_app(
    *,
    secret: str,
    ticket_secret: str,
    clock: Callable[[], float],
    data_dir: Path | None = None,
    max_age_s: float = 300,
    demands_v2: bool = True,
    new_id: Callable[[], str] = lambda: secrets.token_hex(16),
) -> Starlette:
    """Create the stand-in backend as an ASGI app.

    Args:
        secret: secret of callbacks and questions.
        ticket_secret: secret of tickets, at least 32 bytes.
        clock: seconds since the epoch.
        data_dir: folder of the quota account, which survives a restart; None keeps it in memory and calls it inline.
        max_age_s: seconds until a signature expires.
        demands_v2: refuse a call without the signature over the whole call; a wrong one is always refused.
        new_id: creates task ids; unguessable by default.

    Raises:
        ValueError: the ticket secret is too short.
    """
    signatures = Signatures(secret, ticket_secret, clock, max_age_s)
    return _Backend(signatures, clock, data_dir, new_id, demands_v2=demands_v2).app()


class _Backend:
    def __init__(
        self,
        signatures: Signatures,
        clock: Callable[[], float],
        data_dir: Path | None,
        new_id: Callable[[], str],
        *,
        demands_v2: bool,
    ) -> None:
        if data_dir is not None:
            data_dir.mkdir(parents=True, exist_ok=True)
        self._account = QuotaAccount(":memory:" if data_dir is None else str(data_dir / "backend.sqlite3"))
        # One thread, because SQLite's calls block and the account handles one at a time. In memory they do not block.
        self._thread = None if data_dir is None else ThreadPoolExecutor(1, "sandbox-backend")
        self._signatures = signatures
        self._clock = clock
        self._new_id = new_id
        self._accepted = frozenset({"ok"} if demands_v2 else {"ok", "missing"})
        self._faults = Faults()

    def app(self) -> Starlette:
        internal = "/api/internal/tasks"
        return Starlette(
            lifespan=self._lifespan,
            routes=[
                Route("/api/tasks", self._sell, methods=["POST"]),
                Route("/api/tasks/{task}", self._task),
                Route("/api/tasks/{task}/steps", self._add_step, methods=["POST"]),
                Route("/api/tasks/{task}/cancel", self._cancel, methods=["POST"]),
                Route(internal, self._sell_to_api, methods=["POST"]),
                Route(f"{internal}/unfinished", self._unfinished),
                Route(f"{internal}/{{task}}/steps/{{step:int}}", self._state),
                Route(f"{internal}/{{task}}/steps/{{step:int}}/callback", self._step_callback, methods=["POST"]),
                Route(f"{internal}/{{task}}/steps/{{step:int}}/reopen", self._reopen, methods=["POST"]),
                Route("/internal/task/update", self._task_update, methods=["POST"]),
                Route("/_sandbox/quota", self._show_account),
                Route("/_sandbox/quota", self._limit, methods=["PUT"]),
                Route("/_sandbox/faults", self._set_fault, methods=["POST", "DELETE"]),
            ],
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self._do(self._account.close)
            if self._thread is not None:
                self._thread.shutdown(wait=False)

    async def _do(self, function: Callable[..., T], *args: object) -> T:
        if self._thread is None:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def _sell(self, request: Request) -> Response:
        purchase = _decode(await request.body(), _Purchase)
        if purchase is None or not _ID.match(purchase.user_id) or not _KIND.match(purchase.kind) or purchase.step < 0:
            return _json({"error": "user_id, kind or params cannot be used"}, 422)
        task = self._new_id()
        params = msgspec.json.encode(purchase.params).decode()
        await self._do(self._account.sell, purchase.user_id, task, purchase.step, purchase.kind, params, self._clock())
        return _json(self._receipt(purchase, purchase.user_id, task, purchase.step), 201)

    async def _sell_to_api(self, request: Request) -> Response:
        sale = _decode(await request.body(), _Sale)
        return await self._ask(request, "sell", sale.user if sale else "", self._do_sell)

    async def _do_sell(self, request: Request) -> Response:
        sale = _decode(await request.body(), _Sale)
        if sale is None or not _ID.match(sale.user) or not _KIND.match(sale.kind) or sale.inputs < 0:
            return _json({"error": "the purchase cannot be read"}, 400)
        purchase = Purchase(
            user=sale.user,
            key=sale.idempotency_key,
            digest=sale.request_digest,
            kind=sale.kind,
            params=msgspec.json.encode(sale.params).decode(),
        )
        outcome, task = await self._do(self._account.sell_once, purchase, self._new_id(), self._clock())
        match outcome:
            case "no_quota":
                return _json({"error": "no quota is left"}, 402)
            case "other":
                return _json({"error": "the key was used for something else"}, 422)
            case "sold" | "again":
                bought = _Purchase(kind=sale.kind, user_id=sale.user, params=sale.params, inputs=sale.inputs)
                return _json(self._receipt(bought, sale.user, task, 0), 201 if outcome == "sold" else 200)

    async def _add_step(self, request: Request) -> Response:
        purchase = _decode(await request.body(), _Purchase)
        if purchase is None or not _KIND.match(purchase.kind):
            return _json({"error": "kind or params cannot be used"}, 422)
        task = request.path_params["task"]
        params = msgspec.json.encode(purchase.params).decode()
        added = await self._do(self._account.add_step, task, purchase.kind, params, self._clock())
        if added is None:
            return _json({"error": "no such task"}, 404)
        return _json(self._receipt(purchase, added[0], task, added[1]), 201)

    def _receipt(self, purchase: _Purchase, user: str, task: str, step: int) -> dict[str, object]:
        expires = int(self._clock()) + TICKET_SECONDS
        ticket = self._signatures.ticket(
            user=user,
            task=task,
            step=step,
            kind=purchase.kind,
            params=purchase.params,
            expires=expires,
            more={"inputs": purchase.inputs, "priority": purchase.priority},
        )
        folder = f"input/{user}/{task}/"
        return {"task_id": task, "step": step, "ticket": ticket, "input_prefix": folder, "expires": expires}

    async def _task(self, request: Request) -> Response:
        steps = await self._do(self._account.steps, request.path_params["task"])
        if not steps:
            return _json({"error": "no such task"}, 404)
        last = steps[-1]
        return _json({"task_id": last["task_id"], "user_id": last["user_id"], "status": last["status"], "steps": steps})

    async def _cancel(self, request: Request) -> Response:
        state = await self._do(self._account.cancel, request.path_params["task"])
        if state is None:
            return _json({"error": "no such task"}, 404)
        return _json({"status": state}, 200 if state == "cancelled" else 409)

    async def _step_callback(self, request: Request) -> Response:
        task, step = request.path_params["task"], request.path_params["step"]
        body = await request.body()
        verdict = _decode(body, _StepVerdict)
        callback = self._callback(request, body, task, step)
        if verdict is not None:
            callback = msgspec.structs.replace(
                callback,
                status=verdict.status,
                outputs=verdict.output.result_urls,
                error=verdict.output.error_message,
                error_code=verdict.output.error_code,
                text=verdict.output.text,
                degraded=verdict.output.degraded,
            )
        return await self._record(request, callback)

    async def _task_update(self, request: Request) -> Response:
        body = await request.body()
        update = _decode(body, _TaskUpdate)
        if update is None:
            return await self._record(request, self._callback(request, body, "", 0))
        callback = msgspec.structs.replace(
            self._callback(request, body, update.task_id, update.step_index),
            status="success" if update.status == "done" else "failed",
            outputs=update.result_urls,
            error=update.error_reason,
            vendor_task_id=update.vendor_task_id,
            text=update.text,
            degraded=update.degraded,
        )
        return await self._record(request, callback)

    def _callback(self, request: Request, body: bytes, task: str, step: int) -> ReceivedCallback:
        v2 = self._v2(request, body)
        signed = self._signatures.is_signed(request.headers, task, step)
        return ReceivedCallback(
            path=request.url.path,
            received=self._clock(),
            signature_ok=signed and v2 in self._accepted,
            v2=v2,
            task=task,
            step=step,
            run=_run_of(request),
        )

    def _v2(self, request: Request, body: bytes) -> str:
        path, query = request.scope["raw_path"].partition(b"?")[0], request.scope["query_string"]
        target = (path + b"?" + query if query else path).decode("latin-1")
        return self._signatures.v2_verdict(request.method, target, request.headers, body)

    async def _record(self, request: Request, callback: ReceivedCallback) -> Response:
        fault = self._faults.take("callback", callback.task)
        callback = msgspec.structs.replace(callback, fault=fault.kind if fault else "")
        forced = None
        if fault is not None and fault.kind != "cut":
            forced = fault.status if fault.kind == "answer" else 504
        http_status, state = await self._do(self._account.record_callback, callback, forced)
        return await _spoil(request, fault) or _json({"status": state}, http_status)

    async def _unfinished(self, request: Request) -> Response:
        return await self._ask(request, "unfinished", "", self._list_unfinished)

    async def _list_unfinished(self, request: Request) -> Response:
        try:
            older_than = float(request.query_params.get("older_than", "0"))
            after = int(request.query_params.get("cursor", "0"))
        except ValueError:
            return _json({"error": "older_than or cursor cannot be read"}, 400)
        rows, last = await self._do(self._account.unfinished, self._clock() - older_than, after)
        return _json({"rows": rows, "cursor": str(last) if last else None})

    async def _state(self, request: Request) -> Response:
        return await self._ask(request, "state", request.path_params["task"], self._show_state)

    async def _show_state(self, request: Request) -> Response:
        found = await self._do(self._account.state, request.path_params["task"], request.path_params["step"])
        if found is None:
            return _json({"error": "no such step"}, 404)
        return _json({"status": found[0], "user": found[1], "created": found[2]})

    async def _reopen(self, request: Request) -> Response:
        return await self._ask(request, "reopen", request.path_params["task"], self._do_reopen)

    async def _do_reopen(self, request: Request) -> Response:
        task, step = request.path_params["task"], request.path_params["step"]
        run = _run_of(request)
        if run < 1:
            return _json({"error": "X-Internal-Run must be the run to open"}, 422)
        http_status, state = await self._do(self._account.reopen, task, step, run, self._clock())
        return _json({"status": state}, http_status)

    async def _ask(
        self,
        request: Request,
        call: Call,
        task: str,
        answer: Callable[[Request], Awaitable[Response]],
    ) -> Response:
        """Answer a question, which is signed over its path and as a whole."""
        v2 = self._v2(request, await request.body())
        if not self._signatures.is_signed(request.headers, request.url.path) or v2 not in self._accepted:
            return _json({"error": "signature"}, 403)
        fault = self._faults.take(call, task)
        if fault is not None and fault.kind == "cut":
            await answer(request)
        return await _spoil(request, fault) or await answer(request)

    async def _show_account(self, request: Request) -> Response:
        task = request.query_params.get("task_id", "")
        totals = await self._do(self._account.totals)
        tasks = await self._do(self._account.steps, task)
        return _json({**totals, "tasks": tasks, "strays": await self._do(self._account.strays)})

    async def _limit(self, request: Request) -> Response:
        limit = _decode(await request.body(), _Limit)
        if limit is None:
            return _json({"error": "user_id or quota cannot be used"}, 422)
        await self._do(self._account.limit, limit.user_id, limit.quota)
        return Response(status_code=204)

    async def _set_fault(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._faults.clear()
            return Response(status_code=204)
        fault = _decode(await request.body(), Fault)
        if fault is None:
            return _json({"error": "no such fault"}, 422)
        self._faults.add(fault)
        return Response(status_code=204)


def _run_of(request: Request) -> int:
    """Return the run that a call names; 0 for a call without one."""
    run = request.headers.get(RUN, "")
    return int(run) if run.isdecimal() else 0


async def _spoil(request: Request, fault: Fault | None) -> Response | None:
    if fault is None:
        return None
    match fault.kind:
        case "answer":
            return Response(status_code=fault.status, headers=dict(fault.headers))
        case _:
            return await spoiled_answer(request, fault.kind, fault.status)


def _decode(body: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The caller answers unreadable bodies, or records them in the quota account.
        return None


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
