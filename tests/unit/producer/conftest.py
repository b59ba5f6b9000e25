"""A small harness for producers: two buckets in memory, the embedded broker, and a backend with a sale."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest

from messages.codec import Message, decode
from messages.keys import RunId
from messages.topics import WORKERS
from services.objects.memory import Faults, MemoryObjects
from services.objects.port import ObjectInfo
from services.vendors.registry import Vendors
from tasks.accepting import tickets
from tasks.context import Policy, Services
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Accepted, Verdict
from tasks.topics import WORK_TOPICS
from telemetry.secrets import Secret
from transport import open_broker

BUCKET = "pictures-1250000000"
SECRET = Secret("the-ticket-secret-of-the-tests-of-the-producer")
NOON = 1_763_888_400.0
PICTURE = b"\xff\xd8\xff\xe0 a picture"


class Harness:
    """All external services, and the requests of tests to them."""

    def __init__(self, services: Services, data: MemoryObjects, records: MemoryObjects) -> None:
        self.out = services
        self.data = data
        self.records = records
        self.now = NOON

    def ticket(
        self, task: str = "t1", *, user: str = "u1", kind: str = "model_pose12", params: Any = None, **other: Any
    ) -> str:
        """A ticket as the backend sells it, valid for an hour."""
        sold = tickets.Ticket(
            user=user,
            task=task,
            step=0,
            kind=kind,
            params_digest=tickets.digest(params or {}),
            expires=int(self.now) + 3600,
        )
        secret = other.pop("secret", SECRET)
        return tickets.issue(msgspec.structs.replace(sold, **other), secret)

    async def upload(
        self,
        key: str = "input/u1/t1/original.jpg",
        body: bytes = PICTURE,
        *,
        ticket: str | None = None,
        kind: str = "model_pose12",
        params: str | None = None,
    ) -> ObjectInfo:
        """Upload as a client does: a picture, with the order in its metadata."""
        meta = {"kind": kind, "ticket": self.ticket(kind=kind) if ticket is None else ticket}
        if params is not None:
            meta["params"] = params
        return await self.data.put(key, body, meta={name: value for name, value in meta.items() if value})

    async def task_file(self, document: Any, key: str = "input/u1/t1/task.json") -> ObjectInfo:
        body = document if isinstance(document, bytes) else msgspec.json.encode(document)
        return await self.data.put(key, body, content_type="application/json")

    async def sent(self) -> list[Message]:
        """Every message published since the last call."""
        consumer = await self.out.broker.subscribe(WORK_TOPICS, WORKERS, prefetch=1)
        waiting = [await self.out.broker.backlog(topic, WORKERS) for topic in WORK_TOPICS]
        assert not any(one.delayed or one.in_flight for one in waiting)
        found: list[Message] = []
        for _ in range(sum(one.ready for one in waiting)):
            delivery = await consumer.receive()
            await consumer.ack(delivery)
            found.append(decode(delivery.payload))
        await consumer.close()
        return found

    async def verdict(self, run: RunId = RunId("u1", "t1")) -> Verdict | None:  # noqa: B008 - a frozen value
        return await self.out.ledger.verdict(run)

    async def accepted(self, run: RunId = RunId("u1", "t1")) -> Accepted | None:  # noqa: B008 - a frozen value
        return await self.out.ledger.accepted(run)

    def break_(self, where: str, faults: Faults) -> None:
        (self.data if where == "data" else self.records).faults = faults

    def mend(self) -> None:
        self.data.faults = self.records.faults = None


Open = Callable[..., AbstractAsyncContextManager[Harness]]


@pytest.fixture
def harness() -> Open:
    """Opens a harness; its arguments are fields of `policy`."""

    @asynccontextmanager
    async def opened(**policy: Any) -> AsyncGenerator[Harness]:
        holder: list[Harness] = []

        def clock() -> float:
            return holder[0].now if holder else NOON

        numbers = itertools.count(1)
        data = MemoryObjects(bucket=BUCKET, clock=clock)
        records = MemoryObjects(bucket="ledger-1250000000", clock=clock)
        broker = await open_broker("sqlite:///:memory:", clock=clock)
        nobody: Any = None
        out = Services(
            broker=broker,
            objects=data,
            bucket=BUCKET,
            ledger=Ledger(records, clock=clock, nonce=lambda: f"nonce-{next(numbers)}"),
            backend=nobody,
            vendors=Vendors(),
            fetcher=nobody,
            policy=Policy(**{"ticket_secret": SECRET, **policy}),
            clock=clock,
        )
        holder.append(Harness(out, data, records))
        try:
            yield holder[0]
        finally:
            await broker.close()

    return opened


@pytest.fixture
def event() -> Callable[..., Mapping[str, Any]]:
    """An event of the COS trigger, as documented: one record for each key."""

    def make(*keys: str, name: str = "cos:ObjectCreated:Put", bucket: str = "pictures") -> Mapping[str, Any]:
        return {"Records": [record(key, name, bucket) for key in keys]}

    return make


def record(key: str, name: str, bucket: str) -> dict[str, Any]:
    return {
        "cos": {
            "cosSchemaVersion": "1.0",
            "cosObject": {
                "url": f"http://{bucket}-1250000000.cos.ap-guangzhou.myqcloud.com/{key}",
                "meta": {"x-cos-request-id": "NWMx", "Content-Type": "", "x-cos-meta-kind": "of the event"},
                "vid": "",
                "key": f"/1250000000/{bucket}/{key}",
                "size": 1029,
            },
            "cosBucket": {"region": "gz", "name": bucket, "appid": "1250000000"},
            "cosNotificationId": "unkown",
        },
        "event": {
            "eventName": name,
            "eventVersion": "1.0",
            "eventTime": 1545205770,
            "eventSource": "qcs::cos",
            "requestParameters": {
                "requestSourceIP": "192.168.15.101",
                "requestHeaders": {"Authorization": "q-sign-algorithm=sha1&q-ak=AKIDuploader"},
            },
            "eventQueue": "qcs:0:scf:gz:appid/1250000000:default.trigger.$LATEST",
            "reservedInfo": "",
            "reqid": 179398952,
        },
    }
