"""Errors of every client, on servers that repeat what they received: neither text nor causes hold a secret.

Causes are looked at unfiltered: a platform or a shell prints them past our filter.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from messages.keys import RunId
from services.backend import Backend, Callback
from services.errors import FetchRefused
from services.fetch import Fetcher
from services.objects.cos import CosObjects, Credentials
from services.objects.port import PictureRule
from services.vendors.ark.client import Ark
from services.vendors.port import JobRequest, JobState
from services.vendors.runninghub.client import Node, RunningHub, Workflow
from services.vendors.vod.client import Vod
from tasks.calls.webhook_paths import Webhooks
from telemetry import logs
from telemetry.events import Event
from telemetry.secrets import Secret
from tests.secrets.echo import MODES, Echo, Mode
from tests.secrets.emitted import Emitted
from tests.secrets.plants import ENVIRONMENT, ROLE, Plants

log = logs.get("test")

RUN: Final = RunId("u1", "t1")
SIGNED: Final = "plantedResultSignature3Xw8Lq0Zr5"


def secret(name: str) -> Secret:
    return Secret({**ENVIRONMENT, **ROLE}[name])


class Pixels:
    """A body for uploads."""

    size = 3

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"\xff\xd8\xff"


@asynccontextmanager
async def opened(url: str, plants: Plants) -> AsyncGenerator[dict[str, Callable[[], Awaitable[Any]]]]:
    """Every call of every client, pointed at one server, with every secret in it that such a call carries."""
    credentials = Credentials(*(secret(name) for name in ROLE))
    cos = CosObjects(
        bucket="b-1250000000", region="ap-x", credentials=lambda: credentials, endpoint=url, pool=2, timeout=5
    )
    backend = Backend(base_url=url, secret=secret("INTERNAL_CALLBACK_SECRET"), clock=lambda: 1.7e9, timeout=5)
    node = Node(node_id="1", field="image")
    vendor = RunningHub(
        base_url=url,
        api_key=secret("RUNNINGHUB_API_KEY"),
        workflows={"k": Workflow(workflow_id="1", inputs={"photo": node})},
        timeout=5,
    )
    ark = Ark(base_url=url, api_key=secret("ARK_API_KEY"), model="doubao-seedream-4-0-250828", timeout=5)
    vod = Vod(base_url=url, credentials=lambda: credentials, sub_app_id=1, model="GG-3.1", timeout=5, resend_after=0)
    fetcher = Fetcher(
        allowed_hosts=frozenset(), allow_private=frozenset({url.partition("//")[2]}), max_bytes=1 << 20, timeout=5
    )
    hook = Webhooks("https://hooks.example", secret("WEBHOOK_SECRET")).url("runninghub", RUN, 1, 1)
    plants.add("the webhook's token", hook.rpartition("/")[2])
    presigned = await cos.presign("output/u1/t1/frame_01.jpg", expires=60)
    plants.add("a presigned URL", presigned.rpartition("q-signature=")[2])
    plants.add("a result's signature", SIGNED)
    callback = Callback(task="t1", status="failed", message="生成超时", code="timeout")
    order = JobRequest("k", {"photo": "api/1"}, webhook=hook)
    drawn = JobRequest("k", {"photo": presigned}, {"prompt": "a dress"}, webhook=hook, identity="a" * 50)
    try:
        yield {
            "cos.put": lambda: cos.put("input/u1/t1/original.jpg", b"x", meta={"ticket": plants.values["the ticket"]}),
            "cos.put stream": lambda: cos.put("a", Pixels()),
            "cos.put_new": lambda: cos.put_new("a", b"x"),
            "cos.get": lambda: cos.get("a"),
            "cos.open": lambda: _read(cos.open("a")),
            "cos.head": lambda: cos.head("a"),
            "cos.copy": lambda: cos.copy("a", "b"),
            "cos.delete": lambda: cos.delete(["a", "b"]),
            "cos.list": lambda: cos.list("a"),
            "cos.process": lambda: cos.process("a", [PictureRule("b", "imageMogr2/strip")]),
            "cos.audit": lambda: cos.audit(["a"]),
            "cos.versioned": cos.versioned,
            "backend.deliver": lambda: backend.deliver(callback),
            "backend.unfinished": lambda: backend.unfinished(600),
            "backend.reopen": lambda: backend.reopen("t1", 0, 1),
            "vendor.room": vendor.check_room,
            "vendor.upload": lambda: vendor.upload(Pixels(), filename="input.jpg", content_type="image/jpeg"),
            "vendor.create": lambda: vendor.create(order, timeout=5),
            "vendor.query": lambda: vendor.query("1", kind="k"),
            "vendor.cancel": lambda: vendor.cancel("1"),
            "ark.room": ark.check_room,
            "ark.create": lambda: ark.create(drawn, timeout=5),
            **_vod_calls(vod, drawn),
            "fetch": lambda: _read(fetcher.open(f"{url}/result.jpg?sign={SIGNED}")),
            "fetch of a presigned URL": lambda: _read(fetcher.open(f"{url}/{presigned.partition('/b-')[2]}")),
        }
    finally:
        for client in (cos, backend, vendor, ark, vod, fetcher):
            await client.close()


def _vod_calls(vod: Vod, drawn: JobRequest) -> dict[str, Callable[[], Awaitable[Any]]]:
    find = vod.find
    assert find is not None
    return {
        "vod.room": vod.check_room,
        "vod.create": lambda: vod.create(drawn, timeout=5),
        "vod.query": lambda: vod.query("1", kind="k"),
        "vod.find": lambda: find("a" * 50),
        "vod.cancel": lambda: vod.cancel("1"),
    }


async def _read(opening: Any) -> bytes:
    async with opening as download:
        return b"".join([piece async for piece in download])


async def raised_by(calls: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, BaseException | Any]:
    """Error or result of each call."""
    found: dict[str, BaseException | Any] = {}
    for name, call in calls.items():
        try:
            found[name] = await call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            found[name] = error
            log.error(Event.STAGE_FAILED, error=error, called=name)
    return found


def as_text(value: BaseException | Any) -> str:
    """The error as Python prints it; empty for a result, which is for the caller."""
    if not isinstance(value, BaseException):
        return type(value).__name__
    return "\n".join([str(value), repr(value), *traceback.format_exception(value)])


@pytest.mark.parametrize("mode", MODES)
def test_no_client_repeats_what_a_server_throws_back(mode: Mode, plants: Plants, reported: Emitted) -> None:
    plants.add("the ticket", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsInBsYW50ZWQiOjF9.plantedTicketSeal9Kd2Xv7")

    async def play(url: str) -> dict[str, BaseException | Any]:
        async with opened(url, plants) as calls:
            return await raised_by(calls)

    with Echo(mode) as server:
        found = asyncio.run(play(server.url))
        heard = b"\n".join(server.heard)
    # The secrets were on the wire, so a server could return them: otherwise this test shows nothing.
    for name in (
        "RUNNINGHUB_API_KEY",
        "ARK_API_KEY",
        "TENCENTCLOUD_SECRETID",
        "TENCENTCLOUD_SESSIONTOKEN",
        "the ticket",
    ):
        assert plants.values[name].encode() in heard
    assert "a COS signature" in plants.in_(heard)
    assert sum(isinstance(value, Exception) for value in found.values()) > (0 if mode == "fine" else 15)
    plants.assert_none_in([*((name, as_text(value)) for name, value in found.items()), *reported.outputs()])


def test_no_client_tells_of_a_server_that_is_not_there(plants: Plants, reported: Emitted) -> None:
    plants.add("the ticket", "plantedTicket")

    async def play() -> dict[str, BaseException | Any]:
        async with opened("http://127.0.0.1:9", plants) as calls:
            return await raised_by(calls)

    found = asyncio.run(play())
    assert all(isinstance(value, Exception) for value in found.values())
    plants.assert_none_in([*((name, as_text(value)) for name, value in found.items()), *reported.outputs()])


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SIGNED}@files.vendor.example/1.jpg",
        f"https://files.vendor.example/1.jpg?sign={SIGNED}",
        f"http://files.vendor.example/1.jpg?sign={SIGNED}",
        f"https://files.vendor.example:8443/{SIGNED}",
        f"ftp://files.vendor.example/{SIGNED}",
        f"https://files.vendor.example/ {SIGNED}",
        f"https://[::1/{SIGNED}",
        f"https://127.0.0.1/{SIGNED}",
        SIGNED,
        f"https://{'a' * 9000}/{SIGNED}",
    ],
)
def test_a_url_that_is_not_fetched_is_not_told(url: str, plants: Plants, reported: Emitted) -> None:
    plants.add("a result's signature", SIGNED)

    async def play() -> Exception:
        fetcher = Fetcher(allowed_hosts=frozenset({"other.example"}), max_bytes=1, timeout=1)
        try:
            await _read(fetcher.open(url))
        except FetchRefused as error:
            log.error(Event.STAGE_FAILED, error=error)
            return error
        finally:
            await fetcher.close()
        raise AssertionError("it was fetched")

    error = asyncio.run(play())
    plants.assert_none_in([("error", as_text(error)), *reported.outputs()])


def test_a_failed_job_is_told_without_what_the_vendor_quotes(plants: Plants, reported: Emitted) -> None:
    """The vendor's own words go to the log, without keys, webhooks and signed URLs."""
    hook = Webhooks("https://hooks.example", secret("WEBHOOK_SECRET")).url("runninghub", RUN, 1, 1)
    plants.add("the webhook's token", hook.rpartition("/")[2])
    plants.add("a result's signature", SIGNED)
    words = f"node 9: key {ENVIRONMENT['RUNNINGHUB_API_KEY']} could not post {hook} nor read https://x.example/a?sign={SIGNED}"

    async def play() -> Any:
        import httpx

        def answer(_: httpx.Request) -> httpx.Response:
            failed = {"exception_message": words, "node_name": words}
            return httpx.Response(200, json={"status": "FAILED", "errorMessage": words, "failedReason": failed})

        vendor = RunningHub(
            base_url="https://vendor.example",
            api_key=secret("RUNNINGHUB_API_KEY"),
            workflows={},
            transport=lambda: httpx.MockTransport(answer),
        )
        try:
            return await vendor.query("1")
        finally:
            await vendor.close()

    status = asyncio.run(play())
    assert status.state is JobState.FAILED
    assert "node 9" in status.reason
    log.warning(Event.JOB_FAILED, reason=status.reason)
    plants.assert_none_in([("status", repr(status)), *reported.outputs()])
