"""Answers of a vendor's file host that are not the file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

__all__ = ["FILE_FAULTS", "denied", "file_or_spoiled", "spoiled_file"]

FILE_FAULTS: Final = frozenset({"missing", "expired", "error", "html", "huge", "endless", "cut"})
"""Kinds of faults of a file.

`missing` (404), `expired` (403), `error` (a status), `html`, `huge` (5 GiB by its header), `endless` (no length) and
`cut`.
"""

_PNG: Final = "image/png"
_HUGE: Final = 5 << 30
_HEAD: Final = b"\x89PNG\r\n\x1a\n"


def spoiled_file(kind: str, status: int) -> Response | None:
    """Return the answer of a fault that replaces the file; None for the kinds that need the file itself."""
    match kind:
        case "missing":
            return denied(404, "NoSuchKey")
        case "expired":
            return denied(403, "AccessDenied")
        case "error":
            return Response("Internal Server Error", status)
        case "html":
            return Response("<html><body>Please log in</body></html>", media_type="text/html")
        case "huge":
            return StreamingResponse(_zeros(), headers={"content-length": str(_HUGE)}, media_type=_PNG)
        case "endless":
            return StreamingResponse(_zeros(), media_type=_PNG)
        case _:
            return None


def file_or_spoiled(body: bytes, kind: str, media_type: str) -> Response:
    """Return the file, or half of it where the fault is `cut`."""
    return _Half(body, media_type=media_type) if kind == "cut" else Response(body, media_type=media_type)


def denied(status: int, code: str) -> Response:
    """Return a store's error."""
    return Response(f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>", status, media_type="application/xml")


class _Half(Response):
    """Answer that breaks off in the middle: its headers promise the whole file."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


async def _zeros() -> AsyncIterator[bytes]:
    block = _HEAD.ljust(64 * 1024, b"\0")
    for _ in range(_HUGE // len(block)):
        yield block
        # Writing to a closed connection never waits, so without this the loop would never notice the end.
        await asyncio.sleep(0)
