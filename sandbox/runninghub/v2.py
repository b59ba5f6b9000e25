"""Version 2: `/openapi/v2/…`, the key in a header, envelopes only for uploads and the queue."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.runninghub import answers
from sandbox.runninghub.handlers import RequestHandlers, bearer, drain, json_body, text, unauthorized
from sandbox.runninghub.model import Refusal

__all__ = ["V2"]


class V2:
    """Handlers of version 2."""

    def __init__(self, handlers: RequestHandlers) -> None:
        self._handlers = handlers
        self._core = handlers.core

    def routes(self) -> list[Route]:
        """Return its routes."""
        return [
            Route("/openapi/v2/media/upload/binary", self._upload, methods=["POST"]),
            Route("/openapi/v2/run/workflow/{workflow}", self._run, methods=["POST"]),
            Route("/openapi/v2/query", self._query, methods=["POST"]),
            Route("/openapi/v2/queue/status", self._queue),
        ]

    async def _upload(self, request: Request) -> Response:
        async def answer(_: str) -> dict[str, Any]:
            name, size = await self._handlers.take_file(request, lambda _: bearer(request), "openapi")
            url = f"{self._handlers.base_url(request)}/inputs/{name}"
            data = {"type": "image", "download_url": url, "fileName": name, "size": str(size)}
            return answers.envelope(data, word="message")

        def refuse(refusal: Refusal) -> dict[str, Any]:
            return answers.refused_v1(refusal, word="message")

        if bearer(request) not in self._core.api_keys:
            await drain(request)
            return unauthorized()
        return await self._handlers.spoiled(request, "upload", answer, refuse)

    async def _run(self, request: Request) -> Response:
        async def answer(kind: str) -> dict[str, Any]:
            body = await json_body(request)
            job, state = await self._handlers.start(request, bearer(request), request.path_params["workflow"], body)
            return answers.run_v2(job, state, kind)

        if bearer(request) not in self._core.api_keys:
            return unauthorized()
        return await self._handlers.spoiled(request, "create", answer, answers.refused_v2)

    async def _query(self, request: Request) -> Response:
        async def answer(kind: str) -> dict[str, Any]:
            body = await json_body(request)
            job = self._core.look(bearer(request), text(body.get("taskId")))
            files = self._handlers.files(job, self._handlers.base_url(request), expired=kind == "expired_urls")
            return answers.status_v2(job, job.state(self._core.clock()), files)

        self._core.count("queries")
        if bearer(request) not in self._core.api_keys:
            return unauthorized()
        return await self._handlers.spoiled(request, "query", answer, answers.refused_v2)

    async def _queue(self, request: Request) -> Response:
        async def answer(_: str) -> dict[str, Any]:
            limits = self._core.api_keys[bearer(request)]
            running, queued = self._core.queue(bearer(request))
            return answers.queue(limits.kind, limits.concurrent, running, queued)

        if bearer(request) not in self._core.api_keys:
            return unauthorized()
        return await self._handlers.spoiled(request, "queue", answer, answers.refused_v1)
