"""The API in one process: buckets in memory, the embedded broker, and the stand-in backend with its quota account."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import jwt
import msgspec
import pytest

from messages.codec import Message, decode
from messages.keys import RunId
from messages.topics import WORKERS
from producer.api.context import Api, ApiOptions
from producer.api.http.app import app_of, make_api
from sandbox.backend.app import create_app as backend_app
from services.backend import Backend
from services.objects.memory import MemoryObjects
from tasks.context import ApiServices, Policy
from tasks.ledger.ledger import Ledger
from tasks.topics import WORK_TOPICS
from telemetry.secrets import Secret
from transport import open_broker

CALLBACK = "the-secret-of-callbacks-in-the-tests-of-the-api"
TICKETS = "the-secret-of-tickets-in-the-tests-of-the-api"
TOKENS = "the-secret-of-bearer-tokens-in-the-tests-of-the-api, which is longer than 64 bytes"
PICTURE = b"\xff\xd8\xff\xe0 a picture"
TASKS = "/api/v1/ai-generation/tasks"
CREATE = "/api/v1/ai-generation/create"
URL = "https://pictures.example/photo.jpg"


def token(user: str = "u1", *, secret: str = TOKENS, **claims: Any) -> str:
    """A token as the customer's login makes it."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + 600, **claims}, secret, algorithm="HS256")


class Door:
    """The API and everything around it."""

    def __init__(self, api: Api, data: MemoryObjects, records: MemoryObjects, backend: httpx.AsyncClient) -> None:
        self.api = api
        self.data = data
        self.records = records
        self.backend = backend
        self.serve(api)

    def serve(self, api: Api) -> None:
        """Answer requests with these objects from now on."""
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app_of(api)), base_url="http://api.example", timeout=20
        )

    @property
    def ledger(self) -> Ledger:
        return self.api.services.ledger

    async def ask(
        self, method: str, path: str, *, user: str = "u1", headers: Mapping[str, str] | None = None, **other: Any
    ) -> httpx.Response:
        """Call the API as a user."""
        return await self.http.request(
            method, path, headers={"Authorization": f"Bearer {token(user)}", **(headers or {})}, **other
        )

    async def create(self, user: str = "u1", *, key: str = "", **body: Any) -> httpx.Response:
        """Create a task of any kind."""
        headers = {"Idempotency-Key": key} if key else {}
        document = {"kind": "basic_clean", "inputs": [URL], **body}
        return await self.ask("POST", CREATE, user=user, headers=headers, json=document)

    async def created(self, user: str = "u1", **body: Any) -> RunId:
        """Create a task, and return its run."""
        answer = await self.create(user, **body)
        assert answer.status_code == 202, answer.text
        return RunId(user, answer.json()["taskId"])

    async def account(self) -> dict[str, Any]:
        """The backend's quota account."""
        found: dict[str, Any] = (await self.backend.get("/_sandbox/quota")).json()
        return found

    async def arm(self, **fault: Any) -> None:
        """Arm a fault of the backend."""
        (await self.backend.post("/_sandbox/faults", json={"on": "sell", **fault})).raise_for_status()

    async def sent(self) -> list[Message]:
        """Every message published since the last call."""
        broker = self.api.services.broker
        consumer = await broker.subscribe(WORK_TOPICS, WORKERS, prefetch=1)
        waiting = [await broker.backlog(topic, WORKERS) for topic in WORK_TOPICS]
        found: list[Message] = []
        for _ in range(sum(one.ready for one in waiting)):
            delivery = await consumer.receive()
            await consumer.ack(delivery)
            found.append(decode(delivery.payload))
        await consumer.close()
        return found


Open = Callable[..., AbstractAsyncContextManager[Door]]


@asynccontextmanager
async def opened(**options: Any) -> AsyncGenerator[Door]:
    """An opener of the API; its arguments are fields of `ApiOptions`."""
    numbers = itertools.count(1)
    data = MemoryObjects(bucket="pictures-1250000000", clock=time.time)
    records = MemoryObjects(bucket="ledger-1250000000", clock=time.time)
    broker = await open_broker("sqlite:///:memory:", clock=time.time)
    there = backend_app(secret=CALLBACK, ticket_secret=TICKETS, clock=time.time)
    transport = httpx.ASGITransport(there)
    ledger = Ledger(records, clock=time.time, nonce=lambda: f"nonce{next(numbers)}")
    backend = Backend(base_url="http://backend", secret=Secret(CALLBACK), clock=time.time, transport=transport)
    services = ApiServices(
        broker=broker,
        objects=data,
        bucket="pictures-1250000000",
        ledger=ledger,
        backend=backend,
        policy=Policy(ticket_secret=Secret(TICKETS)),
    )
    values = {"jwt_secret": Secret(TOKENS), "callback_secret": Secret(CALLBACK), "respond_within_s": None, **options}
    api = make_api(services, ApiOptions(**values))
    async with httpx.AsyncClient(transport=transport, base_url="http://backend") as client:
        door = Door(api, data, records, client)
        try:
            yield door
        finally:
            api.watch.close()
            await api.background.finish(10)
            await door.http.aclose()
            await backend.close()
            await broker.close()


@pytest.fixture
def door() -> Open:
    """Opens the API; its arguments are fields of `ApiOptions`."""
    return opened


def body_of(stored: bytes) -> dict[str, Any]:
    """The JSON of a stored object."""
    return msgspec.json.decode(stored, type=dict[str, Any])
