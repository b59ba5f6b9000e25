"""Faults of the stand-in backend, armed by tests."""

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

Call = Literal["callback", "unfinished", "state", "reopen", "sell"]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault and how often it occurs."""

    on: Call = "callback"
    kind: Literal["answer", "hang", "cut"] = "answer"
    """`answer`: this status without any effect (200 loses the verdict). `hang`: no answer until the caller gives up,
    and no effect. `cut`: takes effect, then the connection breaks inside the answer; needs a real connection."""
    status: int = 500
    times: int = 1
    task_id: str = ""
    """Task of the affected calls (of `sell`: user); empty for any."""
    headers: Mapping[str, str] = {}
    """Headers of an `answer`, such as Retry-After."""


class Faults:
    """Armed faults."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Arm a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Disarm all faults."""
        self._faults.clear()

    def take(self, call: Call, task: str = "") -> Fault | None:
        """Use up and return the fault for this call, if there is one."""
        for fault in self._faults:
            if fault.times > 0 and fault.on == call and fault.task_id in {"", task}:
                fault.times -= 1
                return fault
        return None


class Cut(Response):
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
