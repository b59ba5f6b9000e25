"""What is made of settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.settings import load_settings
from runtime.wiring import open_outside
from sandbox.server import Server
from services.backend import sign
from telemetry.secrets import Secret

SECRET = "a-callback-secret-of-the-tests-of-the-wiring"


def test_what_the_backend_is_told_is_signed_by_the_stores_clock() -> None:
    heard: list[Request] = []

    async def listen(request: Request) -> Response:
        heard.append(request)
        return JSONResponse({"rows": []})

    async def ask(environ: Mapping[str, str]) -> None:
        async with open_outside(load_settings(environ), lambda: environ, vendors=False) as out:
            out.ledger.learn(time.time() + 7200)
            await out.backend.unfinished(600)

    with Server(Starlette(routes=[Route("/{path:path}", listen)])) as server:
        environ = {
            "BROKER_URL": "sqlite:///:memory:",
            "COS_BUCKET": "data-1250000000",
            "LEDGER_BUCKET": "ledger-1250000000",
            "TENCENTCLOUD_SECRET_ID": "id-of-nobody",
            "TENCENTCLOUD_SECRET_KEY": "key-of-nobody",
            "BACKEND_URL": server.url,
            "INTERNAL_CALLBACK_SECRET": SECRET,
        }
        asyncio.run(ask(environ))
    (request,) = heard
    timestamp = request.headers["X-Timestamp"]
    assert abs(int(timestamp) - time.time() - 7200) < 60
    signature = sign(Secret(SECRET), "/api/internal/tasks/unfinished", timestamp)
    assert request.headers["X-Internal-Signature"] == signature
