"""Objects that are made from settings."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from messages.keys import RunId
from recipes.recipe import parse_params
from recipes.table import RECIPES
from runtime.errors import BadSettings
from runtime.settings import load_settings
from runtime.wiring import open_services
from sandbox.server import Server
from services.signatures import sign
from tasks.context import Services
from telemetry.secrets import Secret
from transport import open_broker
from transport.port import Broker, BrokerOptions

SECRET = "a-callback-secret-of-the-tests-of-the-wiring"

ENVIRON = {
    "BROKER_URL": "sqlite:///:memory:",
    "COS_BUCKET": "data-1250000000",
    "LEDGER_BUCKET": "ledger-1250000000",
    "TENCENTCLOUD_SECRET_ID": "id-of-nobody",
    "TENCENTCLOUD_SECRET_KEY": "key-of-nobody",
    "BACKEND_URL": "http://127.0.0.1:9",
    "INTERNAL_CALLBACK_SECRET": SECRET,
    "TICKET_SECRET": "a-ticket-secret-of-the-tests-of-the-wiring",
    "MESSAGE_KEYS": "k1:*:a-message-key-of-the-tests-of-the-wiring",
}


@pytest.mark.parametrize(("url", "ahead"), [("pulsar://127.0.0.1:9", 7200), ("sqlite:///:memory:", 0)])
def test_a_broker_elsewhere_goes_by_the_stores_clock_and_one_on_this_machine_by_its_own(
    monkeypatch: pytest.MonkeyPatch, url: str, ahead: float
) -> None:
    clocks: list[Callable[[], float]] = []

    async def opens(_: BrokerOptions, *, clock: Callable[[], float]) -> Broker:
        clocks.append(clock)
        return await open_broker("sqlite:///:memory:")

    async def ask() -> None:
        environ = {**ENVIRON, "BROKER_URL": url}
        async with open_services(load_settings(environ), lambda: environ, vendors=False) as services:
            services.ledger.learn(time.time() + 7200)
            assert abs(clocks[0]() - time.time() - ahead) < 60

    monkeypatch.setattr("runtime.wiring.open_broker", opens)
    asyncio.run(ask())


async def _opened(more: Mapping[str, str], **options: bool) -> Services:
    environ = {**ENVIRON, "ENVIRONMENT": "development", **more}
    async with open_services(load_settings(environ), lambda: environ, **{"vendors": False, **options}) as services:
        return services


def test_what_is_audited_and_blocked_is_what_the_settings_say() -> None:
    def policy(**more: str) -> tuple[bool, bool, bool]:
        found = asyncio.run(_opened(more)).policy
        return found.audit_inputs, found.block_suspect_inputs, found.block_suspect

    assert policy() == (True, False, True)
    assert policy(AUDIT_INPUTS="false") == (False, False, True)
    assert policy(AUDIT_SUSPECT_INPUTS="block") == (True, True, True)
    assert policy(AUDIT_SUSPECT="allow") == (True, False, False)


def test_tickets_are_never_verified_with_another_secret() -> None:
    with pytest.raises(BadSettings, match=r"^set TICKET_SECRET "):
        asyncio.run(_opened({"TICKET_SECRET": ""}))
    assert not asyncio.run(_opened({"TICKET_SECRET": "", "TICKET_REQUIRED": "false"})).policy.ticket_secret
    assert not asyncio.run(_opened({"TICKET_SECRET": ""}, tickets=False)).policy.ticket_secret


def test_a_webhooks_paths_are_never_signed_with_another_secret() -> None:
    url = {"WEBHOOK_URL": "https://hooks.example"}
    run = RunId("u1", "t1", 0, 0)
    assert asyncio.run(_opened(url)).webhooks.url("runninghub", run, 1, 1) == ""
    with pytest.raises(BadSettings, match=r"^set WEBHOOK_SECRET "):
        asyncio.run(_opened(url, vendors=True))
    signed = asyncio.run(_opened({**url, "WEBHOOK_SECRET": SECRET[::-1]}, vendors=True))
    assert signed.webhooks.url("runninghub", run, 1, 1)


def test_what_the_backend_is_told_is_signed_by_the_stores_clock() -> None:
    heard: list[Request] = []

    async def listen(request: Request) -> Response:
        heard.append(request)
        return JSONResponse({"rows": []})

    async def ask(environ: Mapping[str, str]) -> None:
        async with open_services(load_settings(environ), lambda: environ, vendors=False) as services:
            services.ledger.learn(time.time() + 7200)
            await services.backend.unfinished(600)

    with Server(Starlette(routes=[Route("/{path:path}", listen)])) as server:
        asyncio.run(ask({**ENVIRON, "BACKEND_URL": server.url}))
    (request,) = heard
    timestamp = request.headers["X-Timestamp"]
    assert abs(int(timestamp) - time.time() - 7200) < 60
    signature = sign(Secret(SECRET), "/api/internal/tasks/unfinished", timestamp)
    assert request.headers["X-Internal-Signature"] == signature


def test_scenes_come_from_the_file_of_the_deployment(tmp_path: Path) -> None:
    file = tmp_path / "scenes.json"
    file.write_bytes(b'\xef\xbb\xbf{"garden": {"name": "\xe8\x8a\xb1\xe5\x9b\xad", "text": "dew"}}')
    recipe = asyncio.run(_opened({"SCENES_FILE": str(file)})).recipes["photography"]
    assert parse_params(recipe, {"scene": "garden"})
    assert asyncio.run(_opened({})).recipes is RECIPES


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "which cannot be read: No such file or directory"),
        (b"{}", "no scene"),
        (b'{"garden": {"name": "x"}}', "scene 'garden': .*`text`"),
        (b'{"Garden": {"name": "x", "text": "y"}}', "a-z"),
        ("{}".encode("utf-16"), "it is UTF-16: save it as UTF-8"),
    ],
)
def test_a_file_of_scenes_that_cannot_be_used_is_an_error_at_start(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    file = tmp_path / "scenes.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadSettings, match=rf"^SCENES_FILE names '{re.escape(str(file))}', .*{fault}"):
        asyncio.run(_opened({"SCENES_FILE": str(file)}))
