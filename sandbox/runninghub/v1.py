"""Version 1: `/task/openapi/…`, an envelope around every answer, the key in the body or in the header."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.runninghub import answers
from sandbox.runninghub.forms import Part
from sandbox.runninghub.handlers import RequestHandlers, bearer, json_body, reply, text
from sandbox.runninghub.model import Job, Refusal

__all__ = ["V1"]


class V1:
    """Handlers of version 1."""

    def __init__(self, handlers: RequestHandlers) -> None:
        self._handlers = handlers
        self._core = handlers.core

    def routes(self) -> list[Route]:
        """Return its routes."""
        return [
            Route("/task/openapi/upload", self._upload, methods=["POST"]),
            Route("/task/openapi/create", self._create, methods=["POST"]),
            Route("/task/openapi/status", self._status, methods=["POST"]),
            Route("/task/openapi/outputs", self._outputs, methods=["POST"]),
            Route("/task/openapi/cancel", self._cancel, methods=["POST"]),
            Route("/task/openapi/getWebhookDetail", self._webhook_detail, methods=["POST"]),
            Route("/uc/openapi/accountStatus", self._account, methods=["POST"]),
        ]

    async def _upload(self, request: Request) -> Response:
        def key_of(parts: Sequence[Part]) -> str:
            given = next((part.body.decode("utf-8", "replace") for part in parts if part.name == "apiKey"), "")
            return self._known(given, request)

        async def answer(_: str) -> dict[str, Any]:
            name, _size = await self._handlers.take_file(request, key_of, "api")
            return answers.envelope({"fileName": name, "fileType": "input"})

        return await self._handlers.spoiled(request, "upload", answer, answers.refused_v1)

    async def _create(self, request: Request) -> Response:
        async def answer(kind: str) -> dict[str, Any]:
            body = await json_body(request)
            key = self._known(text(body.get("apiKey")), request)
            job, state = await self._handlers.start(request, key, text(body.get("workflowId")), body)
            return answers.run_v1(job, state, kind)

        return await self._handlers.spoiled(request, "create", answer, answers.refused_v1)

    async def _status(self, request: Request) -> Response:
        async def content(job: Job, _: str) -> dict[str, Any]:
            state = job.state(self._core.clock())
            return answers.envelope("FAILED" if state == "CANCEL" else state)

        return await self._about_job(request, "status", content)

    async def _outputs(self, request: Request) -> Response:
        async def content(job: Job, kind: str) -> dict[str, Any]:
            if kind == "null":
                return answers.envelope(None)
            files = self._handlers.files(job, self._handlers.base_url(request), expired=kind == "expired_urls")
            return answers.task_outputs(job, job.state(self._core.clock()), files)

        return await self._about_job(request, "query", content)

    async def _cancel(self, request: Request) -> Response:
        async def content(job: Job, _: str) -> dict[str, Any]:
            self._core.cancel(job)
            return answers.envelope(None)

        return await self._about_job(request, "cancel", content)

    async def _about_job(
        self, request: Request, on: str, content: Callable[[Job, str], Awaitable[dict[str, Any]]]
    ) -> Response:
        async def answer(kind: str) -> dict[str, Any]:
            body = await json_body(request)
            find = self._core.job if on == "cancel" else self._core.look
            return await content(find(self._key(body, request), text(body.get("taskId"))), kind)

        self._core.count("cancels" if on == "cancel" else "queries")
        return await self._handlers.spoiled(request, on, answer, answers.refused_v1)

    async def _webhook_detail(self, request: Request) -> Response:
        try:
            body = await json_body(request)
            job = self._core.job(self._key(body, request), text(body.get("taskId")))
        except Refusal as refusal:
            return reply(answers.refused_v1(refusal))
        return reply(answers.webhook_detail(self._handlers.webhooks.record(job), job.created))

    async def _account(self, request: Request) -> Response:
        async def answer(_: str) -> dict[str, Any]:
            key = self._known(text((await json_body(request)).get("apikey")), request)
            return answers.account(self._core.api_keys[key].kind, sum(self._core.queue(key)))

        return await self._handlers.spoiled(request, "queue", answer, answers.refused_v1)

    def _key(self, body: Mapping[str, Any], request: Request) -> str:
        return self._known(text(body.get("apiKey")), request)

    def _known(self, given: str, request: Request) -> str:
        """Return the key in the body, else the one in the header.

        Raises:
            Refusal: 802.
        """
        key = given or bearer(request)
        if key not in self._core.api_keys:
            raise Refusal("802")
        return key
