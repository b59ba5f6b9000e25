"""Result files, behind URLs that expire, with their armed faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sandbox.runninghub.handlers import RequestHandlers

__all__ = ["serve_file"]

_PNG: Final = "image/png"
_HUGE: Final = 5 << 30
_HEAD: Final = b"\x89PNG\r\n\x1a\n"


async def serve_file(request: Request, handlers: RequestHandlers) -> Response:
    """Serve one file of one job."""
    fault = handlers.core.take("file")
    kind = fault.kind if fault else ""
    match kind:
        case "missing":
            return _denied(404, "NoSuchKey")
        case "expired":
            return _denied(403, "AccessDenied")
        case "error":
            return Response("Internal Server Error", fault.status if fault else 500)
        case "html":
            return Response("<html><body>Please log in</body></html>", media_type="text/html")
        case "huge":
            return StreamingResponse(_zeros(), headers={"content-length": str(_HUGE)}, media_type=_PNG)
        case "endless":
            return StreamingResponse(_zeros(), media_type=_PNG)
        case _:
            pass
    query = request.query_params
    try:
        job, index = handlers.core.file(request.path_params["token"], query.get("expires", ""), query.get("sign", ""))
    except KeyError:
        return _denied(404, "NoSuchKey")
    except PermissionError:
        return _denied(403, "AccessDenied")
    body = await handlers.run(handlers.pictures.result, job, index)
    return _Half(body, media_type=_PNG) if kind == "cut" else Response(body, media_type=_PNG)


class _Half(Response):
    """Answer that breaks off in the middle: its headers promise the whole file."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


def _denied(status: int, code: str) -> Response:
    return Response(f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>", status, media_type="application/xml")


async def _zeros() -> AsyncIterator[bytes]:
    block = _HEAD.ljust(64 * 1024, b"\0")
    for _ in range(_HUGE // len(block)):
        yield block
        # Writing to a closed connection never waits, so without this the loop would never notice the end.
        await asyncio.sleep(0)
