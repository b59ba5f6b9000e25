"""Function URL of the platform; a command replaces the function.

A request becomes the event that SCF, "Function URL" (document 583/96099) describes. The command gets it as JSON on its
standard input and writes the function's answer as JSON to its standard output.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.commands import Commands

__all__ = ["create_app"]

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_MAX_BODY_BYTES: Final = 6 << 20
"""Largest body in bytes that the platform accepts (SCF, gateway trigger: 6 MB each way)."""

_Environ = Callable[[], Mapping[str, str]]


def create_app(
    argv: Sequence[str],
    *,
    environ: _Environ,
    concurrency: int = 4,
    timeout: float = 60.0,
    commands: Commands | None = None,
) -> Starlette:
    """Create the gateway as an ASGI app.

    Args:
        argv: program and arguments of the command.
        environ: returns the command's environment.
        concurrency: greatest number of commands at the same time.
        timeout: seconds until a command is killed.
        commands: what runs it; None for runs of its own.
    """
    runner = commands or Commands()
    threads = ThreadPoolExecutor(concurrency, thread_name_prefix="sandbox-gateway")

    def run(event: bytes) -> bytes:
        done = runner.run(argv, event, environ=environ(), timeout=timeout)
        done.check_returncode()
        return done.stdout

    async def answer(request: Request) -> Response:
        body = await request.body()
        if len(body) > _MAX_BODY_BYTES:
            return Response("Request Entity Too Large", 413)
        event = json.dumps(_event(request, body)).encode()
        try:
            output = await asyncio.get_running_loop().run_in_executor(threads, run, event)
            return _response(json.loads(output))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            # The platform's answer to a failed function is not documented.
            return Response(f"the function failed: {type(error).__name__}", 502)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await asyncio.to_thread(threads.shutdown)

    return Starlette(routes=[Route("/{path:path}", answer, methods=list(_METHODS))], lifespan=lifespan)


def _event(request: Request, body: bytes) -> dict[str, Any]:
    client = request.client.host if request.client else ""
    return {
        "body": body.decode("utf-8", "replace"),
        "headers": {**dict(request.headers), "x-scf-remote-addr": client},
        "httpMethod": request.method,
        "path": request.url.path,
        "queryString": dict(request.query_params),
    }


def _response(answer: Any) -> Response:  # noqa: ANN401 - any answer of the function
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Response(json.dumps(answer), 200, media_type="application/json")
    return Response(str(answer.get("body", "")), int(answer["statusCode"]), dict(answer.get("headers") or {}))
