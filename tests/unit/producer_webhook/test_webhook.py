"""The webhook: a true path becomes a wake, everything else an answer and a log line without a secret."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from messages.bodies import Job, Stage, Wake
from messages.codec import Message, decode
from messages.keys import RunId
from messages.topics import WORKERS, topic_of
from producer.webhook import MAX_BODY_BYTES, take_call
from services.objects.memory import MemoryObjects
from services.vendors.registry import Vendors
from tasks.calls.webhook_paths import Webhooks
from tasks.context import Policy, Services
from tasks.ledger.ledger import Ledger
from telemetry import logs
from telemetry.secrets import Secret
from transport import open_broker
from transport.errors import BrokerDown

BASE = "https://hooks.example"
RUN = RunId("u1", "t1", 0, 2)
NOW = 1_763_888_400.0
WEBHOOKS = Webhooks(BASE, Secret("the-callback-secret-of-the-webhook-tests"))
PATH = WEBHOOKS.url("runninghub", RUN, 1, 3).removeprefix(BASE)
TOKEN = PATH.rpartition("/")[2]
FORGED = PATH[:-1] + ("0" if PATH[-1] != "0" else "1")

SAMPLE = {
    "event": "TASK_END",
    "taskId": "1904163390028185602",
    "eventData": '{"code":0,"msg":"success","data":[{"fileUrl":"https://x.example/a.png","fileType":"png"}]}',
}
"""As the vendor documents it."""

Open = Callable[[], AbstractAsyncContextManager[Services]]


@pytest.fixture
def outside() -> Open:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Services]:
        broker = await open_broker("sqlite:///:memory:", clock=lambda: NOW)
        nobody: Any = None
        records = MemoryObjects(bucket="ledger-1250000000", clock=lambda: NOW)
        out = Services(
            broker=broker,
            objects=nobody,
            bucket="photos-1250000000",
            ledger=Ledger(records, clock=lambda: NOW, nonce=lambda: "nonce"),
            backend=nobody,
            vendors=Vendors(),
            fetcher=nobody,
            policy=Policy(),
            webhooks=WEBHOOKS,
            clock=lambda: NOW,
        )
        try:
            yield out
        finally:
            await broker.close()

    return opened


def event(path: str = PATH, body: Any = SAMPLE, method: str = "POST", **more: Any) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    return {"httpMethod": method, "path": path, "headers": {}, "queryString": {}, "body": text, **more}


async def sent(services: Services) -> list[Message]:
    topic = topic_of(Stage.WAKE)
    consumer = await services.broker.subscribe([topic], WORKERS)
    waiting = (await services.broker.backlog(topic, WORKERS)).ready
    return [decode((await consumer.receive()).payload) for _ in range(waiting)]


async def test_a_true_call_becomes_one_wake_with_the_id(outside: Open) -> None:
    async with outside() as services:
        answer = await take_call(event(), services)
        assert answer["statusCode"] == 200
        (message,) = await sent(services)
        assert message.header.run_id == RUN
        assert message.header.created == int(NOW * 1000)
        assert message.body == Wake("webhook", Job(3, "1904163390028185602"))
        # It wrote no record.
        assert (await services.ledger.objects.list("")).items == ()


@pytest.mark.parametrize(
    "body",
    [
        {"taskId": 1904163390028185602},
        base64.b64encode(json.dumps(SAMPLE).encode()).decode(),
        {**SAMPLE, "eventData": "x" * 100_000},
    ],
    ids=["number", "base64", "long"],
)
async def test_what_the_vendor_may_send_is_taken(outside: Open, body: Any) -> None:
    async with outside() as services:
        assert (await take_call(event(body=body), services))["statusCode"] == 200
        (message,) = await sent(services)
        assert message.body == Wake("webhook", Job(3, "1904163390028185602"))


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (event(path="/"), 404),
        (event(path=PATH + "/x"), 404),
        (event(path=FORGED), 403),
        (event(path=PATH.replace("/u1/", "/u2/")), 403),
        (event(path=PATH.replace("/1/3/", "/1/4/")), 403),
        (event(path=PATH.replace("/1/3/", "/2/3/")), 403),
        (event(path=PATH.replace("runninghub", "another")), 403),
        (event(method="GET"), 405),
        (event(method=""), 405),
        (event(body=""), 400),
        (event(body="{"), 400),
        (event(body=[]), 400),
        (event(body={}), 400),
        (event(body={"taskId": ""}), 400),
        (event(body={"taskId": True}), 400),
        (event(body={"taskId": -1}), 400),
        (event(body={"taskId": 1.5}), 400),
        (event(body={"taskId": "1 2"}), 400),
        (event(body={"taskId": "x" * 65}), 400),
        (event(body={"taskId": {"a": 1}}), 400),
        (event(body='{"taskId":' + "9" * 5000 + "}"), 400),
        (event(body="!", isBase64Encoded=True), 400),
        (event(body="x" * (MAX_BODY_BYTES + 1)), 413),
        ({}, 404),
    ],
)
async def test_anything_else_is_refused_and_wakes_nobody(outside: Open, call: dict[str, Any], status: int) -> None:
    async with outside() as services:
        answer = await take_call(call, services)
        assert answer["statusCode"] == status
        assert answer["headers"]["Content-Type"] == "application/json"
        assert answer["headers"].get("Allow") == ("POST" if status == 405 else None)
        assert await sent(services) == []


async def test_without_a_broker_the_vendor_is_asked_to_come_again(
    outside: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        raise BrokerDown("no receipt")

    async with outside() as services:
        monkeypatch.setattr(services.broker, "publish", down)
        answer = await take_call(event(), services)
        assert answer["statusCode"] == 503
        assert int(answer["headers"]["Retry-After"]) > 0


async def test_no_line_of_the_log_has_the_token_or_the_body(outside: Open) -> None:
    lines = io.StringIO()
    undo = logs.setup(lines, "DEBUG", "test")
    try:
        async with outside() as services:
            for call in (event(), event(path=FORGED), event(method="GET"), event(body="{"), event(path=PATH + "x")):
                await take_call(call, services)
    finally:
        undo()
    text = lines.getvalue()
    assert "webhook.received" in text
    assert text.count("webhook.rejected") == 4
    for secret in (TOKEN, FORGED.rpartition("/")[2], "fileUrl", "x.example"):
        assert secret not in text
