"""Answers of an armed fault instead of a stand-in's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["spoiled_answer", "wait_for_disconnect"]


class _Cut(Response):
    """Answer whose connection breaks inside: its headers promise a body that never comes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the headers and return; the server then closes the connection."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})


async def wait_for_disconnect(request: Request, limit: float = 60.0) -> Response:
    """Do not answer until the caller has disconnected, at most for `limit` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    return Response(status_code=504)


async def spoiled_answer(
    request: Request, kind: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer of a fault that every stand-in has.

    Args:
        request: the call.
        kind: `not_json` (a page of a proxy), `cut`, `hang` (no answer until the caller gives up); any other is an
            error in plain text.
        status: of that error.
        headers: of that error.
    """
    match kind:
        case "not_json":
            return Response("<html><body>Welcome to nginx!</body></html>", media_type="text/html")
        case "cut":
            return _Cut()
        case "hang":
            return await wait_for_disconnect(request)
        case _:
            return Response("Internal Server Error", status, headers)
