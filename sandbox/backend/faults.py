"""Answers that go wrong on request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["Call", "Cut", "Fault", "Faults", "wait_for_disconnect"]

Call = Literal["callback", "unfinished", "state", "reopen"]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One thing that will go wrong, so many times."""

    on: Call = "callback"
    kind: Literal["answer", "hang", "cut"] = "answer"
    """`answer`: this status, and nothing is done (200 loses the verdict). `hang`: no answer until the caller gives up,
    and nothing is done. `cut`: done, then the connection breaks inside the answer; needs a real connection."""
    status: int = 500
    times: int = 1
    task_id: str = ""
    """Only calls about this task; empty for any."""
    headers: Mapping[str, str] = {}
    """Of an `answer`, such as Retry-After."""


class Faults:
    """Faults asked for and not yet spent."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Ask for one."""
        self._faults.append(fault)

    def clear(self) -> None:
        """All is well again."""
        self._faults.clear()

    def take(self, call: Call, task: str = "") -> Fault | None:
        """The fault that spoils this call, if one does."""
        for fault in self._faults:
            if fault.times > 0 and fault.on == call and fault.task_id in {"", task}:
                fault.times -= 1
                return fault
        return None


class Cut(Response):
    """An answer whose connection breaks inside: the headers promise a body that never comes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the headers and leave; the server then closes the connection."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})


async def wait_for_disconnect(request: Request, limit: float = 60.0) -> Response:
    """Say nothing until the caller has gone, or for `limit` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    return Response(status_code=504)
