"""The results' files: behind URLs that expire, and as wrong as armed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sandbox.runninghub.handlers import Desk

__all__ = ["serve_file"]

_PNG: Final = "image/png"
_HUGE: Final = 5 << 30
_HEAD: Final = b"\x89PNG\r\n\x1a\n"


async def serve_file(request: Request, desk: Desk) -> Response:
    """One file of one job."""
    fault = desk.core.take("file")
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
        job, index = desk.core.file(request.path_params["token"], query.get("expires", ""), query.get("sign", ""))
    except KeyError:
        return _denied(404, "NoSuchKey")
    except PermissionError:
        return _denied(403, "AccessDenied")
    body = await desk.run(desk.pictures.result, job, index)
    return _Half(body, media_type=_PNG) if kind == "cut" else Response(body, media_type=_PNG)


class _Half(Response):
    """An answer that breaks off in the middle: its headers promise the whole."""

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
        # Writing to a connection that is gone never waits, and so would never let anybody notice.
        await asyncio.sleep(0)
