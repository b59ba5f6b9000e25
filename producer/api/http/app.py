"""ASGI app of the API: reads a request, lets its handler answer, and turns every error into a problem."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from producer.api.context import Api, ApiOptions, Background, Call
from producer.api.document.openapi import document
from producer.api.document.page import page
from producer.api.health import HealthCheck
from producer.api.http.limits import RateLimit, StreamLimit
from producer.api.http.problems import MEDIA_TYPE, Failure, as_failure, problem_of
from producer.api.http.tokens import Caller, caller_of
from producer.api.routes import OPERATIONS, Operation
from producer.api.steps import verify_backend
from producer.api.watch import Watch
from tasks.context import ApiServices
from telemetry import logs
from telemetry.events import Event

__all__ = ["MAX_BODY_BYTES", "app_of", "create_app", "make_api"]

MAX_BODY_BYTES: Final = 64 << 10
"""Largest body in bytes; files do not pass through the API."""

_BODY_S: Final = 10.0
"""Seconds in which a body must arrive."""

_OTHERS: Final = 10
"""Requests that buy nothing for each one that buys, in the limits of a user."""

_FINISH_S: Final = 10.0
"""Seconds that acceptances may take after the end of the last request."""

_UNROUTED: Final = {404: "not_found", 405: "method_not_allowed"}
"""Status of a request that no operation takes -> its code."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

log = logs.get(__name__)


def make_api(services: ApiServices, options: ApiOptions, clock: Callable[[], float] = time.time) -> Api:
    """Return the objects of a process.

    Args:
        services: the bundle of services.
        options: the options.
        clock: this machine's clock, seconds since the epoch.
    """
    return Api(
        services=services,
        options=options,
        clock=clock,
        purchases=RateLimit(options.per_minute, time.monotonic),
        requests=RateLimit(_OTHERS * options.per_minute, time.monotonic),
        streams=StreamLimit(options.streams_of_user, options.streams),
        watch=Watch(services.ledger),
        health=HealthCheck(services, options.addresses),
        background=Background(options.accepts_at_once, options.accepts_within_s),
    )


def create_app(opened: Callable[[], AbstractAsyncContextManager[Api]], cors_origins: Sequence[str] = ()) -> Starlette:
    """Return the app for a server, which opens and closes it by the lifespan protocol.

    Args:
        opened: opens the objects of the process, for as long as the app runs.
        cors_origins: origins whose pages may call the API.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with opened() as api:
            app.state.api = api
            await api.health.warm_up()
            log.info(Event.API_STARTED)
            yield
            api.watch.close()
            await api.background.finish(_FINISH_S)

    return _app(cors_origins, lifespan)


def app_of(api: Api, cors_origins: Sequence[str] = ()) -> Starlette:
    """Return the app over objects that are open; `cors_origins` as for `create_app`."""
    app = _app(cors_origins)
    app.state.api = api
    return app


def _app(
    cors_origins: Sequence[str], lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None
) -> Starlette:
    app = Starlette(
        routes=_routes(),
        lifespan=lifespan,
        middleware=_middleware(cors_origins),
        exception_handlers={HTTPException: _of_the_framework},
    )
    # A redirect to the path without its last slash would lead to any host that the caller names.
    app.router.redirect_slashes = False
    return app


def _routes() -> list[BaseRoute]:
    # One route for each path, so that it knows all its methods.
    paths: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = operation
    routes: list[BaseRoute] = [
        Route(path, _endpoint(operations), methods=[*operations]) for path, operations in paths.items()
    ]
    return [*routes, Route("/openapi.json", _openapi), Route("/docs", _page)]


def _middleware(cors_origins: Sequence[str]) -> list[Middleware]:
    if not cors_origins:
        return []
    headers = ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "X-Request-Id"]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(cors_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=headers,
        expose_headers=["ETag", "Location", "Retry-After", "X-Request-Id"],
        max_age=3600,
    )
    return [cors]


def _endpoint(operations: Mapping[str, Operation]) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        operation = operations["GET" if request.method == "HEAD" else request.method]
        began = time.monotonic()
        request_id = _request_id(request)
        with logs.context(request_id=request_id):
            response = await _answer(operation, request, request_id)
            took = round(time.monotonic() - began, 4)
            log.info(Event.API_ANSWERED, operation=operation.name, status=response.status_code, took=took)
        response.headers["X-Request-Id"] = request_id
        return response

    return endpoint


async def _answer(operation: Operation, request: Request, request_id: str) -> Response:
    api: Api = request.app.state.api
    try:
        call = await _call(operation, request)
        with api.background.request() if operation.buys else nullcontext():
            return await operation.handler(call)
    except ClientDisconnect:
        return Response(status_code=499)
    except Exception as error:  # noqa: BLE001 - a client never sees a traceback
        failure = as_failure(error)
        if failure is None:
            log.error(Event.API_FAILED, error=error)
            failure = Failure(500, "an error of ours; name the request id", code="internal")
        elif failure.status == 503:  # noqa: PLR2004 - Service Unavailable
            # Only the log gets the reason: it may name hosts.
            log.warning(Event.API_UNAVAILABLE, error=error)
        return _problem(failure, request_id)


async def _call(operation: Operation, request: Request) -> Call:
    api: Api = request.app.state.api
    if "transfer-encoding" in request.headers and "content-length" in request.headers:
        # Servers disagree where such a body ends, so a second request could hide in it (RFC 9112, section 6.1).
        raise Failure(400, "a body has one length", code="bad_request", closes=True)
    caller = Caller("")
    if operation.access == "user":
        caller = caller_of(request.headers.get("authorization", ""), api.options.jwt_secret, api.clock())
        (api.purchases if operation.buys else api.requests).take(caller.user)
    body = await _body(request) if operation.method == "POST" else b""
    if operation.access == "backend":
        verify_backend(api.options.callback_secret, "POST", _target(request), request.headers, body, now=api.clock())
    return Call(api=api, request=request, caller=caller, body=body)


def _target(request: Request) -> str:
    """Return path and query as received. `request.url` is made of the header `Host`, which a caller chooses."""
    path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


async def _body(request: Request) -> bytes:
    """Return the body.

    Raises:
        producer.api.http.problems.Failure: 408: it came too slowly; 413: it is too long; 415: it is no JSON.
    """
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Failure(415, "send application/json", code="bad_media_type", field="Content-Type")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise Failure(413, f"at most {MAX_BODY_BYTES} bytes", code="too_large", closes=True)
    except TimeoutError:
        text = f"the body must arrive within {_BODY_S:g} s"
        raise Failure(408, text, code="too_slow", closes=True) from None
    return bytes(body)


async def _of_the_framework(request: Request, error: Exception) -> Response:
    """Answer requests that match no route."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    request_id = _request_id(request)
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    response = _problem(Failure(status, code=_UNROUTED.get(status, "")), request_id)
    response.headers.update({**headers, "X-Request-Id": request_id})
    return response


def _problem(failure: Failure, request_id: str) -> Response:
    headers: dict[str, str] = {}
    if failure.retry_after:
        headers["Retry-After"] = str(max(1, round(failure.retry_after)))
    if failure.closes:
        headers["Connection"] = "close"
    if failure.status == 401:  # noqa: PLR2004 - Unauthorized
        headers["WWW-Authenticate"] = "Bearer"
    body = msgspec.json.encode(problem_of(failure, request_id))
    return Response(body, failure.status, headers, MEDIA_TYPE)


def _request_id(request: Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


async def _openapi(request: Request) -> Response:
    return Response(msgspec.json.encode(_document(request)), media_type="application/json")


async def _page(request: Request) -> Response:
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(page(_document(request)), headers=headers)


def _document(request: Request) -> Mapping[str, Any]:
    """Return the OpenAPI document, which is made once: reading it needs no token."""
    state = request.app.state
    if not hasattr(state, "document"):
        state.document = document(OPERATIONS, state.api.services.recipes)
    found: Mapping[str, Any] = state.document
    return found
