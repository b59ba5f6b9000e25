"""Request handling that both versions share, after the key is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sandbox.json_body import json_object
from sandbox.runninghub import answers
from sandbox.runninghub.core import Core, Node, ResultFile
from sandbox.runninghub.forms import Part, boundary_of, parse_form
from sandbox.runninghub.model import Fault, Job, Refusal, State, Upload
from sandbox.runninghub.pictures import Pictures
from sandbox.runninghub.reading import receive_url
from sandbox.runninghub.webhooks import Webhooks
from sandbox.spoiled_answers import spoiled_answer

__all__ = ["RequestHandlers", "bearer", "drain", "json_body", "reply", "text", "unauthorized"]

P = ParamSpec("P")
T = TypeVar("T")

_UPLOAD_LIMIT: Final = 30 * 1024 * 1024
"""Largest upload in bytes (section 1.1); a larger one gets code 809."""
_FORM_LIMIT: Final = _UPLOAD_LIMIT + 64 * 1024
_CONTENT_FAULTS: Final = frozenset({"no_id", "tips", "number", "expired_urls", "null"})
"""Faults in the content of an answer; the others replace the answer."""


class RequestHandlers:
    """Core, pictures and webhooks together.

    Args:
        core: the state.
        pictures: the files.
        executor: runs blocking work.
        public_url: base of the results' URLs, or a function that returns it; empty for the base of each request.
    """

    webhooks: Webhooks

    def __init__(self, core: Core, pictures: Pictures, executor: Executor, public_url: Callable[[], str] | str) -> None:
        self.core: Final = core
        self.pictures: Final = pictures
        self.executor: Final = executor
        self._public_url = public_url

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, partial(function, *args, **kwargs))

    async def spoiled(
        self,
        request: Request,
        on: str,
        answer: Callable[[str], Awaitable[dict[str, Any]]],
        refuse: Callable[[Refusal], dict[str, Any]],
    ) -> Response:
        """Answer a call, or apply an armed fault.

        Args:
            request: the call.
            on: name of the call in faults.
            answer: executes the call; gets the kind of a fault of content, else an empty string.
            refuse: formats a business error.
        """
        fault = self.core.take(on)
        kind = fault.kind if fault else ""
        spoils = fault is not None and kind not in _CONTENT_FAULTS
        if fault is None or fault.accepted or not spoils:
            try:
                content = await answer("" if spoils else kind)
            except Refusal as refusal:
                content = refuse(refusal)
            if fault is None or not spoils:
                return reply(content)
        await drain(request)
        return await _spoil(request, fault, refuse)

    async def start(self, request: Request, key: str, workflow: str, body: Mapping[str, Any]) -> tuple[Job, State]:
        """Accept a job and start its webhook.

        Raises:
            Refusal: nothing was accepted.
        """
        nodes = _nodes(body.get("nodeInfoList"))
        for url in self.core.urls(workflow, nodes):
            self.core.add_upload(url, await self._fetched(key, url))
        job = self.core.create(
            key,
            workflow,
            nodes,
            webhook=text(body.get("webhookUrl")),
            base_url=self.base_url(request),
        )
        state = job.state(self.core.clock())
        fault = self.core.take("webhook") if job.webhook else None
        await self.webhooks.begin(job, fault.kind if fault else "")
        return job, state

    async def take_file(
        self, request: Request, key_of: Callable[[Sequence[Part]], str], folder: str
    ) -> tuple[str, int]:
        """Store an uploaded file. Returns its fileName and its size.

        Raises:
            Refusal: 808 for a body that is no form with one file, 809 for one too large, 802 for a wrong key.
        """
        self.core.count("uploads")
        body = await _bounded_body(request)
        parts = await self.run(parse_form, body, boundary_of(request.headers.get("content-type", "")))
        key = key_of(parts or [])
        file = next((part for part in parts or [] if part.name == "file"), None)
        if file is None:
            raise Refusal("808")
        if len(file.body) > _UPLOAD_LIMIT:
            raise Refusal("809")
        name, upload = await self.run(self.pictures.save, key, file.filename, file.body)
        self.core.add_upload(f"{folder}/{name}", upload)
        return f"{folder}/{name}", len(file.body)

    async def _fetched(self, key: str, url: str) -> Upload:
        """Download an input; after an error it is an empty file, which no loader can read."""
        path = await self.run(self.pictures.place, key)
        file = await self.run(path.open, "wb")
        try:
            digest = await receive_url(url, lambda piece: self.run(file.write, piece))
        finally:
            await self.run(file.close)
        if not digest:
            await self.run(path.write_bytes, b"")
        _, upload = await self.run(self.pictures.keep, key, url.partition("?")[0], path, digest or path.name)
        return upload

    def files(self, job: Job, base_url: str, *, expired: bool = False) -> list[ResultFile]:
        """Return a job's files; none before its success."""
        if job.state(self.core.clock()) != "SUCCESS":
            return []
        return self.core.results(job, base_url, expired=expired)

    def event_data(self, job: Job) -> str:
        """Return the `eventData` of a job that has ended."""
        state = job.state(self.core.clock())
        content = answers.task_outputs(job, state, self.files(job, job.base_url), numbers=True)
        return msgspec.json.encode(content).decode()

    def base_url(self, request: Request) -> str:
        """Return the base URL of results, without a trailing slash."""
        url = self._public_url if isinstance(self._public_url, str) else self._public_url()
        return (url or str(request.base_url)).rstrip("/")


def reply(content: object, status: int = 200) -> Response:
    """Return a JSON answer."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def unauthorized() -> Response:
    """Return the gateway's answer to an invalid key (docs/reference/vendors.md, codes)."""
    return reply({"code": -1, "msg": "ApiKey verification failed"}, 401)


def bearer(request: Request) -> str:
    """Return the key in the header; empty for none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def text(value: object) -> str:
    """Return a string, or a number as a string; empty for anything else."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


async def json_body(request: Request) -> Mapping[str, Any]:
    """Return the JSON object in a request.

    Raises:
        Refusal: 301, there is none.
    """
    body = json_object(await request.body())
    if body is None:
        raise Refusal("301")
    return body


async def drain(request: Request) -> None:
    """Read the rest of a body: closing a connection with unread bytes may lose the answer."""
    try:
        async for _ in request.stream():
            pass
    except RuntimeError:
        # Starlette raises this if the body was read before.
        return


async def _bounded_body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        if len(body) <= _FORM_LIMIT:
            body += piece
    if len(body) > _FORM_LIMIT:
        raise Refusal("809")
    return bytes(body)


async def _spoil(request: Request, fault: Fault, refuse: Callable[[Refusal], dict[str, Any]]) -> Response:
    match fault.kind:
        case "answer":
            return reply(refuse(Refusal(fault.code)))
        case "unauthorized":
            return unauthorized()
        case _:
            return await spoiled_answer(request, fault.kind, fault.status)


def _nodes(value: object) -> list[Node]:
    """Return the entries of a nodeInfoList.

    Raises:
        Refusal: 803 for anything else.
    """
    entries = cast("list[object]", value) if isinstance(value, list) else []
    if (value is not None and not isinstance(value, list)) or not all(isinstance(entry, dict) for entry in entries):
        raise Refusal("803", "NODE_INFO_ERROR")
    maps = cast("list[dict[str, object]]", entries)
    return [Node(*(text(entry.get(name)) for name in ("nodeId", "fieldName", "fieldValue"))) for entry in maps]
