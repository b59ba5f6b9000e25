"""The API behind a Function URL: an event becomes a request of the same app, its answer the function's result.

Whole answers only: streams are answered with 501 (`?wait` serves instead). The process is frozen between calls, so a
sold task is accepted before the answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
from starlette.applications import Starlette

from producer.api.http.app import app_of
from producer.api.http.opening import open_process, origins_of
from producer.api.http.problems import MEDIA_TYPE, Failure, problem_of
from runtime.errors import BadBody
from runtime.function_url import Request, read_request, respond
from runtime.scf import instance
from runtime.settings import Settings
from runtime.wiring import Environ
from telemetry import logs

__all__ = ["main_handler", "open_app", "serve"]

_SERVICE: Final = "producer.api"


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one HTTP request, in the form of a Function URL's response."""
    with logs.context(request_id=str(context.get("request_id", ""))):
        return instance(_SERVICE, open_app).call(lambda app: serve(event, app))


@asynccontextmanager
async def open_app(settings: Settings, environ: Environ) -> AsyncGenerator[Starlette]:
    """Open the app for a function.

    Raises:
        runtime.errors.BadSettings: a variable is missing or cannot be used.
    """
    async with open_process(settings, environ, standing_still=True) as api:
        yield app_of(api, origins_of(settings))


async def serve(event: Mapping[str, Any], app: Starlette) -> dict[str, Any]:
    """Return the app's answer to an event."""
    try:
        request = read_request(event)
    except BadBody:
        problem = problem_of(Failure(400, "the body is not base64", code="bad_request"), "")
        return respond(400, msgspec.to_builtins(problem), {"Content-Type": MEDIA_TYPE})
    answer = _Answer()
    await app(_scope(request), _Body(request.body), answer)
    return {"statusCode": answer.status, "headers": answer.headers, "body": answer.body.decode()}


class _Answer:
    """Collector of the app's messages."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


class _Body:
    """Source of the messages to the app."""

    def __init__(self, body: bytes) -> None:
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def __call__(self) -> MutableMapping[str, Any]:
        return self._messages.pop() if self._messages else {"type": "http.disconnect"}


def _scope(request: Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": request.path,
        "raw_path": quote(request.path, errors="replace").encode(),
        "query_string": urlencode(request.query, errors="replace").encode(),
        "headers": [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in request.headers.items()
        ],
        "client": (request.client, 0),
        "server": ("function", 443),
    }
