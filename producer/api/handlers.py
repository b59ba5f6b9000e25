"""Handlers of the operations: each reads its call, asks one module, and writes the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from messages.keys import RunId
from producer.api.context import Api, Call
from producer.api.http.problems import Failure, field_in, unusable
from producer.api.progress import is_same
from producer.api.states import Page, expected_of, find, list_tasks, status_of, step_of, version_of
from producer.api.stats import statistics_of
from producer.api.steps import start_step
from producer.api.submissions import Submission, decode, idempotency_key, submit
from producer.api.uploads import buy_upload
from producer.api.watch import Feed, Seen
from producer.api.wire import (
    MAX_STEP,
    CreatedTask,
    CreateTask,
    CreateUpload,
    Health,
    ProgressEvent,
    StartStep,
    Waiting,
)
from tasks.ending.cancel import cancel_task
from tasks.lists.states import FINAL, STATES, state_of
from tasks.wakes import LATEST

__all__ = [
    "cancel",
    "create",
    "create_by_mode",
    "create_upload",
    "events",
    "health",
    "health_of_parts",
    "list_tasks_of_user",
    "start_next_step",
    "stats",
    "status",
]

T = TypeVar("T")

_EVENT_STREAM: Final = "text/event-stream"
_HEARTBEAT_S: Final = 15.0
_STREAM_S: Final = 1800.0
"""Seconds after which a stream ends; the client connects again."""

_RECONNECT_MS: Final = 3000
_WAIT_MAX: Final = 25
_HOUR_S: Final = 3600.0
_EVENT_ID: Final = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


def create_by_mode(kind: str, field: str, *, many: bool) -> Callable[[Call], Awaitable[Response]]:
    """Return the handler of a route that makes tasks of one kind.

    Args:
        kind: the kind.
        field: name of the field with the inputs; empty for a kind without. The other fields are the parameters.
        many: True if the field is a list.
    """

    async def handler(call: Call) -> Response:
        params = decode(call.body)
        inputs = _inputs(params.pop(field, None), field, many=many) if field else ()
        submission = Submission(
            user=call.caller.user, kind=kind, params=params, inputs=inputs, field=field or "inputs", many=many
        )
        return await _created(call, submission)

    return handler


async def create(call: Call) -> Response:
    """Create a task of any kind."""
    asked = _convert(call.body, CreateTask)
    submission = Submission(user=call.caller.user, kind=asked.kind, params=asked.params, inputs=asked.inputs)
    return await _created(call, submission)


async def create_upload(call: Call) -> Response:
    """Create a task whose inputs the client uploads."""
    key = idempotency_key(call.header("idempotency-key"))
    ticket = await buy_upload(call.caller.user, _convert(call.body, CreateUpload), key, call.api)
    return _json(ticket, HTTPStatus.CREATED, {"Location": ticket.status_url})


async def start_next_step(call: Call) -> Response:
    """Start the next step of a pipeline."""
    asked = _convert(call.body, StartStep)
    await start_step(asked, call.api)
    return _accepted(asked.task_id, asked.kind, f"?step={asked.step}")


async def status(call: Call) -> Response:
    """Return the state of a task, after waiting for a change if that was asked for."""
    step, api = _step(call), call.api
    wait = _number(call, "wait", 0, 0, _WAIT_MAX)
    known = call.header("if-none-match")
    seen, before = await find(step, api.services)
    if wait:
        seen = await _waited(step, seen, known, wait, api)
        before = None if seen.exists else before
    version = version_of(seen, api.clock())
    headers = {"ETag": version, "Cache-Control": "private, no-cache"}
    if known == version:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    document = await status_of(seen, before, api)
    if document.state not in FINAL:
        headers["Retry-After"] = str(min(max(document.expected_seconds or 5, 2), 10))
    return _json(document, headers=headers)


async def cancel(call: Call) -> Response:
    """Cancel a task."""
    step, api = _step(call), call.api
    await find(step, api.services)
    verdict = await cancel_task(msgspec.structs.replace(step, run=LATEST), api.services)
    if verdict.status != "cancelled":
        raise Failure(409, f"it has ended: {verdict.status}", code="finished")
    seen, before = await find(step, api.services)
    return _json(await status_of(seen, before, api))


async def list_tasks_of_user(call: Call) -> Response:
    """List the user's tasks."""
    state = call.query.get("state", "")
    if state not in {"", *STATES}:
        raise unusable(f"must be one of {', '.join(STATES)}", "state")
    page = Page(
        limit=_number(call, "limit", 20, 1, 100),
        cursor=call.query.get("cursor", ""),
        state=next((one for one in STATES if one == state), None),
        kind=call.query.get("kind", ""),
    )
    return _json(await list_tasks(call.caller.user, page, call.api.services))


async def stats(call: Call) -> Response:
    """Count finished tasks."""
    everyone = _flag(call, "all")
    if everyone and not call.caller.operator:
        raise Failure(403, "only an operator sees all users' tasks", code="forbidden", field="all")
    now = call.api.services.ledger.now()
    since = now - _number(call, "hours", 24, 1, 168) * _HOUR_S
    user = "" if everyone else call.caller.user
    return _json(await statistics_of(user, since, now, call.api.services.ledger.objects))


async def health(_call: Call) -> Response:
    """Return that the process answers."""
    return _json(Health(status="ok"))


async def health_of_parts(call: Call) -> Response:
    """Return the reachability of everything that the API needs."""
    found = await call.api.health.check()
    return _json(found, HTTPStatus.OK if found.status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE)


async def events(call: Call) -> Response:
    """Stream the progress of a task."""
    step, api = _step(call), call.api
    if not api.options.streaming:
        raise Failure(501, "there are no streams here: ask for the task with ?wait=20", code="not_implemented")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    with ExitStack() as place:
        # Before the first wait: streams that are opened together count too.
        place.enter_context(api.streams.hold(step.user))
        known = api.watch.known(step)
        seen, before = (known, None) if known else await find(step, api.services)
        if call.request.method == "HEAD":
            return Response(headers=headers, media_type=_EVENT_STREAM)
        body = _stream(step, seen, before, call.header("last-event-id"), api)
        return _EventStream(body, place.pop_all(), headers)


class _EventStream(StreamingResponse):
    """A stream that frees its place when it ends, also if the client disconnected before it began."""

    def __init__(self, body: AsyncGenerator[bytes], place: ExitStack, headers: Mapping[str, str]) -> None:
        super().__init__(body, headers=headers, media_type=_EVENT_STREAM)
        self._body = body
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            async with aclosing(self._body):
                await super().__call__(scope, receive, send)


async def _stream(step: RunId, seen: Seen, before: Waiting | None, last: str, api: Api) -> AsyncGenerator[bytes]:
    yield f"retry: {_RECONNECT_MS}\n\n".encode()
    async with api.watch.follow(step, seen) as feed, aclosing(_pieces(feed, before, last, api)) as pieces:
        async for piece in pieces:
            yield piece


async def _pieces(feed: Feed, before: Waiting | None, last: str, api: Api) -> AsyncGenerator[bytes]:
    """Yield every event after the last one that the client has, and heartbeats, until nothing more will happen.

    Args:
        feed: the step that is watched.
        before: why it waits while it has no record.
        last: id of the last event that the client has; empty for none.
        api: of this process.
    """
    run, number = _position(last)
    sent: ProgressEvent | None = None
    until = asyncio.get_running_loop().time() + _STREAM_S
    while asyncio.get_running_loop().time() < until:
        seen = feed.seen
        if seen is not None:
            if seen.run.run != run:
                run, number = seen.run.run, -1
            for one in seen.events:
                if one.number > number:
                    number = one.number
                    if sent is not None and is_same(sent, one.event):
                        # A record of the same second was sorted in before it.
                        continue
                    sent = one.event
                    left = expected_of(seen, one.event.state, api) if one is seen.events[-1] else None
                    document = msgspec.structs.replace(one.event, expected_seconds=left)
                    if before and not number:
                        document = msgspec.structs.replace(document, waiting=before)
                    yield _event("progress", f"{run}-{number}", document)
            if seen.over:
                yield _event("end", f"{run}-{number}", seen.events[-1].event)
                return
        if feed.closed:
            return
        if seen is feed.seen:
            await feed.changed(_HEARTBEAT_S)
        if seen is feed.seen and not feed.closed:
            yield b": still here\n\n"


def _event(name: str, identity: str, document: msgspec.Struct) -> bytes:
    data = msgspec.json.encode(document).decode()
    return f"id: {identity}\nevent: {name}\ndata: {data}\n\n".encode()


def _position(last: str) -> tuple[int, int]:
    """Return run and number in the id of an event; -1 for none."""
    found = _EVENT_ID.fullmatch(last)
    return (int(found[1]), int(found[2])) if found else (-1, -1)


async def _waited(step: RunId, seen: Seen, known: str, wait: int, api: Api) -> Seen:
    """Return the step after a change from the state that the client knows; without one, after its end."""
    until = asyncio.get_running_loop().time() + wait
    async with api.watch.follow(step, seen) as feed:
        while not feed.closed and (left := until - asyncio.get_running_loop().time()) > 0:
            seen = feed.seen or seen
            if known and known != version_of(seen, api.clock()):
                return seen
            if not known and state_of(seen.view) in FINAL:
                return seen
            await feed.changed(left)
        return feed.seen or seen


async def _created(call: Call, submission: Submission) -> Response:
    key = idempotency_key(call.header("idempotency-key"))
    task = await submit(submission, key, call.api)
    return _accepted(task, submission.kind)


def _accepted(task: str, kind: str, query: str = "") -> Response:
    status_url = f"/api/v1/ai-generation/tasks/{task}"
    document = CreatedTask(
        task_id=task,
        kind=kind,
        state="queued",
        status_url=f"{status_url}{query}",
        events_url=f"{status_url}/events{query}",
    )
    return _json(document, HTTPStatus.ACCEPTED, {"Location": document.status_url, "Retry-After": "2"})


def _inputs(value: object, field: str, *, many: bool) -> tuple[str, ...]:
    if value is None:
        raise unusable("is required", field)
    values = value if many and isinstance(value, list) else [value]
    if (many and not isinstance(value, list)) or not all(isinstance(one, str) for one in values):
        raise unusable("must be a list of texts" if many else "must be a text", field)
    return tuple(str(one) for one in values)


def _convert(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise unusable(str(error)[:200], field_in(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unusable("the body is no JSON object", "") from error


def _step(call: Call) -> RunId:
    return step_of(call.caller.user, call.path["id"], _number(call, "step", 0, 0, MAX_STEP))


def _number(call: Call, name: str, default: int, least: int, most: int) -> int:
    text = call.query.get(name, "")
    if text == "":
        return default
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise unusable(f"must be a number from {least} to {most}", name)
    return int(text)


def _flag(call: Call, name: str) -> bool:
    text = call.query.get(name, "false")
    if text not in {"true", "false"}:
        raise unusable("must be true or false", name)
    return text == "true"


def _json(document: Any, status_code: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401
    return Response(msgspec.json.encode(document), status_code, dict(headers or {}), "application/json")
