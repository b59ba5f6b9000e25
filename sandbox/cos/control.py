"""Control endpoints of the stand-in under `/_sandbox/`, on the loopback host only; not part of COS.

| request | effect |
|---|---|
| `GET /_sandbox/health` | 200 while it serves |
| `GET /_sandbox/buckets/BUCKET?prefix=` | objects as JSON |
| `GET /_sandbox/stats` | answers by verb and status, events, armed faults |
| `GET, POST, DELETE /_sandbox/faults` | armed faults; arm one (the fields of `Fault`); disarm all |
| `GET, PUT /_sandbox/audit` | rules of the audit (the fields of `AuditRules`) |
| `POST /_sandbox/idle` | 204 after every event was delivered or given up |
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.cos.ci.audit import AuditRules
from sandbox.cos.faults import Fault
from sandbox.cos.store import Entry

if TYPE_CHECKING:
    from sandbox.cos.service import Service

__all__ = ["control_routes"]

_PAGE = 1000


def control_routes(service: Service) -> list[Route]:
    """Return the routes of the control endpoints."""
    control = _Control(service)
    return [
        Route("/_sandbox/health", control.health, methods=["GET"]),
        Route("/_sandbox/buckets/{bucket}", control.objects, methods=["GET"]),
        Route("/_sandbox/stats", control.stats, methods=["GET"]),
        Route("/_sandbox/faults", control.faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sandbox/audit", control.audit, methods=["GET", "PUT"]),
        Route("/_sandbox/idle", control.idle, methods=["POST"]),
    ]


def _json(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - any JSON value
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class _Control:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def health(self, _: Request) -> Response:
        return _json({"status": "ok"})

    async def objects(self, request: Request) -> Response:
        bucket, prefix = request.path_params["bucket"], request.query_params.get("prefix", "")
        found: list[dict[str, Any]] = []
        marker = ""
        while True:
            page = await self._service.run(
                self._service.store.page, bucket, prefix=prefix, delimiter="", marker=marker, limit=_PAGE
            )
            found += map(_shown, page.entries)
            marker = page.next_marker
            if not marker:
                return _json(found)

    async def stats(self, _: Request) -> Response:
        events = self._service.events
        return _json(
            {
                "requests": dict(self._service.requests),
                "events": {"delivered": events.delivered, "failed": events.failed, "pending": events.pending},
                "faults": self._service.faults.armed(),
            }
        )

    async def faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._service.faults.clear()
        if request.method == "POST":
            try:
                self._service.faults.arm(msgspec.json.decode(await request.body(), type=Fault))
            except (msgspec.DecodeError, re.error) as error:
                return _json({"error": str(error)}, 400)
        return _json(self._service.faults.armed())

    async def audit(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                self._service.audit = msgspec.json.decode(await request.body(), type=AuditRules)
            except msgspec.DecodeError as error:
                return _json({"error": str(error)}, 400)
        return _json(self._service.audit)

    async def idle(self, _: Request) -> Response:
        await self._service.events.idle()
        return Response(status_code=204)


def _shown(entry: Entry) -> dict[str, Any]:
    shown = {name: getattr(entry, name) for name in ("key", "etag", "size", "modified")}
    return {**shown, "headers": dict(entry.headers)}
