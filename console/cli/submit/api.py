"""`scf-workers submit`: submits tasks through the HTTP API, as a client that uploads itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec

from console.cli.client import UPLOADED, in_words, inside, progress_of, write_pieces
from console.cli.ending import describe_ending
from console.cli.live_view import Row, RowState
from console.cli.show import show_progress
from console.cli.submit.outcome import AT_ONCE, Attempt, Outcome, Submission
from runtime.errors import BadSettings
from runtime.settings import Settings, load_settings, require
from services.concurrency import Together
from services.errors import BackendDown
from services.http_body import IDENTITY
from services.objects.source import FileSource
from tasks.ledger.records import Verdict

__all__ = ["submit_to_api"]

T = TypeVar("T")

_ROOT: Final = "/api/v1/ai-generation"
_FINAL: Final = frozenset({"success", "failed", "cancelled"})
_TOKEN_S: Final = 3600
_WAIT_S: Final = 20
_TIMEOUT_S: Final = 60.0
_NOT_MODIFIED: Final = 304
_DIRECT: Final = "or go without the API with --direct, which needs the keys of the buckets"
_AWAY: Final = f"start `scf-workers sandbox` or `scf-workers api` again, name another one with --api, {_DIRECT}"
_UNKNOWN: Final = f"no API is known: start `scf-workers api` and name it with API_URL or --api, {_DIRECT}"


class _File(msgspec.Struct):
    name: str
    url: str


class _Error(msgspec.Struct):
    code: str


class _Waiting(msgspec.Struct):
    why: str


class _Status(msgspec.Struct, rename="camel"):
    task_id: str
    state: str
    stage: str | None = None
    waiting: _Waiting | None = None
    results: tuple[_File, ...] = ()
    text: str | None = None
    degraded: tuple[str, ...] = ()
    error: _Error | None = None
    trace_id: str | None = None

    @property
    def progress(self) -> str:
        """Progress as text."""
        return UPLOADED if self.waiting and self.waiting.why == "upload" else progress_of(self.stage)


class _Upload(msgspec.Struct):
    url: str
    headers: Mapping[str, str]
    body: str = ""


class _Problem(msgspec.Struct):
    detail: str
    code: str = ""
    field: str = ""
    message: str = ""


class _Bought(msgspec.Struct, rename="camel"):
    task_id: str
    uploads: tuple[_Upload, ...] = ()


def submit_to_api(url: str, inputs: Sequence[Sequence[Path]], submission: Submission) -> list[Outcome]:
    """Submit a task for each set of inputs, and show their progress. Returns their outcomes.

    Args:
        url: base URL of the API; empty takes API_URL.
        inputs: inputs of each task.
        submission: kind, parameters and user of all of them; the token of that user is signed here, with JWT_SECRET.

    Raises:
        runtime.errors.BadSettings: API_URL or JWT_SECRET is not set.
    """
    settings = load_settings(os.environ)
    if settings.backend_url and not (url or settings.api_url):
        raise BadSettings(_UNKNOWN)
    require(settings, *(("jwt_secret",) if url else ("api_url", "jwt_secret")))
    token = _token(submission.user, settings)
    return asyncio.run(_submit((url or settings.api_url).rstrip("/"), token, inputs, submission))


async def _submit(url: str, token: str, inputs: Sequence[Sequence[Path]], submission: Submission) -> list[Outcome]:
    headers = {**IDENTITY, "Authorization": f"Bearer {token}"}
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(headers=headers, timeout=_TIMEOUT_S, trust_env=False) as api:
        with show_progress(len(inputs)) as shown:

            async def one(attempt: Attempt) -> Outcome:
                try:
                    return await _attempt(api, url, attempt, submission, gate)
                except httpx.HTTPError as error:
                    text = f"the API, {url} (API_URL), does not answer ({in_words(error)}): {_AWAY}"
                    raise BackendDown(text) from error

            attempts = [Attempt(photos, partial(shown.update, number)) for number, photos in enumerate(inputs)]
            async with Together() as group:
                running = [group.create_task(attempt.run(one)) for attempt in attempts]
    return [task.result() for task in running]


async def _attempt(
    api: httpx.AsyncClient, url: str, attempt: Attempt, submission: Submission, gate: asyncio.Semaphore
) -> Outcome:
    photos, asked = attempt.inputs, {"kind": submission.kind, "params": dict(submission.params)}
    async with gate:
        bought = await _buy(api, url, photos, asked)
        task = attempt.task_id = bought.task_id
        if photos:
            await _upload(bought.uploads, [await asyncio.to_thread(FileSource, photo) for photo in photos])
    uploaded = f", uploaded {', '.join(photo.name for photo in photos)}" if photos else ""
    submission.say(f"task {task}: bought{uploaded}")
    if not submission.wait_s:
        return Outcome(task, "submitted")
    status = await _wait(api, f"{url}{_ROOT}/tasks/{task}", submission.wait_s, attempt.show)
    return _outcome(status, await _download(status, submission.out), submission.wait_s)


def _token(user: str, settings: Settings) -> str:
    import jwt

    claims = {"sub": user, "exp": int(time.time()) + _TOKEN_S}
    return jwt.encode(claims, settings.jwt_secret.reveal(), algorithm="HS256")


async def _buy(api: httpx.AsyncClient, url: str, photos: Sequence[Path], asked: dict[str, Any]) -> _Bought:
    """Buy a task. Returns it with the uploads that it waits for."""
    if not photos:
        return await _ask(api, f"{url}{_ROOT}/create", _Bought, asked)
    asked |= {"extensions": [photo.suffix.lstrip(".").lower() for photo in photos]}
    return await _ask(api, f"{url}{_ROOT}/uploads", _Bought, asked)


async def _upload(uploads: Sequence[_Upload], sources: Sequence[FileSource]) -> None:
    # Without our token: it is for the API alone.
    async with httpx.AsyncClient(headers=IDENTITY, timeout=_TIMEOUT_S, trust_env=False) as store:
        for upload, source in zip(uploads, sources, strict=False):
            # With a Content-Length: the store accepts no chunked body.
            await _put(store, upload, source, {"Content-Length": str(source.size)})
        # The last one is the description, and starts the task.
        await _put(store, uploads[-1], uploads[-1].body.encode(), {})


async def _put(store: httpx.AsyncClient, upload: _Upload, body: bytes | FileSource, headers: Mapping[str, str]) -> None:
    try:
        answer = await store.put(upload.url, content=body, headers={**upload.headers, **headers})
    except httpx.HTTPError as error:
        raise BackendDown(f"the store does not take an upload: {in_words(error)}") from error
    if not answer.is_success:
        raise BackendDown(f"the store refuses an upload: it answered {answer.status_code}")


async def _wait(api: httpx.AsyncClient, url: str, wait_s: float, show: Callable[[Row], None]) -> _Status:
    """Return the state at the end of the task, or of the wait. Each change is shown."""
    until = time.monotonic() + wait_s
    status, tag = await _state(api, url)
    while True:
        done = status.state in _FINAL
        show(Row(status.task_id, status.state if done else status.progress, _row_state(status)))
        left = until - time.monotonic()
        if done or left <= 0:
            return status
        status, tag = await _state(api, url, (status, tag), max(1, min(_WAIT_S, int(left))))


async def _state(
    api: httpx.AsyncClient, url: str, known: tuple[_Status, str] | None = None, wait: int = 0
) -> tuple[_Status, str]:
    """Return the state and its tag, after a change from the known one or after some seconds."""
    headers = {"If-None-Match": known[1]} if known else {}
    answer = await api.get(url, params={"wait": wait}, headers=headers)
    if known and answer.status_code == _NOT_MODIFIED:
        return known
    return _read(answer, _Status), answer.headers.get("ETag", "")


def _row_state(status: _Status) -> RowState:
    if status.state not in _FINAL:
        return RowState.RUNNING
    return RowState.SUCCESS if status.state == "success" else RowState.FAILED


async def _download(status: _Status, out: Path) -> tuple[str, ...]:
    """Download the results. Returns their paths."""
    paths: list[str] = []
    async with httpx.AsyncClient(headers=IDENTITY, timeout=_TIMEOUT_S, trust_env=False) as store:
        for result in status.results:
            path = inside(out, Path(status.task_id) / result.name)
            try:
                async with store.stream("GET", result.url) as answer:
                    await write_pieces(path, answer.raise_for_status().aiter_bytes())
            except httpx.HTTPError as error:
                raise BackendDown(f"the store does not give {result.name}: {in_words(error)}") from error
            paths.append(str(path))
    return tuple(paths)


def _outcome(status: _Status, files: tuple[str, ...], waited_s: float) -> Outcome:
    trace = status.trace_id or ""
    if status.state == "success":
        return Outcome(status.task_id, "success", files, status.text or "", status.degraded, trace_id=trace)
    verdict = Verdict("failed", status.error.code) if status.error else None
    state = status.state if status.state in _FINAL else "pending"
    ending, remedy = describe_ending(state, verdict, status.progress, waited_s)
    return Outcome(status.task_id, state, ending=ending, remedy=remedy, trace_id=trace)


async def _ask(api: httpx.AsyncClient, url: str, kind: type[T], body: Mapping[str, Any]) -> T:
    return _read(await api.post(url, json=body), kind)


def _read(answer: httpx.Response, kind: type[T]) -> T:
    if not answer.is_success:
        raise BackendDown(f"the API answers {answer.status_code} to {answer.request.method}{_reason(answer.content)}")
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        text = f"the API answers {answer.request.method} with unexpected content: check API_URL or --api"
        raise BackendDown(text) from error


def _reason(body: bytes) -> str:
    """Return the text of a problem document (RFC 9457); other bodies are not shown."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        return ""
    return f": {problem.field or problem.code}: {problem.detail} {problem.message}".rstrip()
