"""A vendor, its files and a backend that repeat in their answers what they received, behind the product's own
clients."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self

import httpx

from services.backend import Backend
from services.fetch import Fetcher
from services.vendors.instrumented import InstrumentedVendor
from services.vendors.registry import Vendors
from services.vendors.runninghub.client import Node, RunningHub, Workflow
from tasks.calls.webhook_paths import Webhooks
from tasks.context import Policy
from telemetry.secrets import Secret
from tests.bad_input.harness import TicketHarness
from tests.engine.standins import FILES_HOST, JPEG, JPEG_END
from tests.secrets.plants import ENVIRONMENT, Plants

__all__ = ["JOB", "SIGNED", "Harness", "echo_of"]

JOB: Final = "1850925505116598273"
SIGNED: Final = "plantedResultSignature3Xw8Lq0Zr5"
_HOOKS: Final = "https://hooks.harness.example"
_WORKFLOW: Final = Workflow(
    workflow_id="1990000000000000012",
    inputs={"photo": Node(node_id="10", field="image")},
    params={"prompt": Node(node_id="6", field="text")},
    outputs=("9",),
)

Act = Callable[[httpx.Request, str], httpx.Response]
"""(request, its contents as one text) -> the answer. It may raise."""


def echo_of(request: httpx.Request, body: bytes) -> str:
    """All of a request in one text."""
    headers = " ".join(f"{name}: {value}" for name, value in request.headers.items())
    return f"{request.method} {request.url} {headers} {body.decode('latin-1')[:3000]}"


class Site:
    """A host. Answers are taken from the left of `acts`, for requests whose URL has their word; else all is well.

    Args:
        fine: what it answers when nothing else was ordered.
    """

    def __init__(self, fine: Act) -> None:
        self._fine = fine
        self._acts: dict[str, deque[Act]] = {}
        self.heard: list[tuple[httpx.Request, bytes]] = []

    def order(self, word: str, *acts: Act) -> None:
        self._acts.setdefault(word, deque()).extend(acts)

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.heard.append((request, body))
        echo = echo_of(request, body)
        for word, acts in self._acts.items():
            if word in str(request.url) and acts:
                return acts.popleft()(request, echo)
        return self._fine(request, echo)


def status(number: int) -> Act:
    """An answer of this status that repeats the request."""

    def act(_: httpx.Request, echo: str) -> httpx.Response:
        return httpx.Response(number, json={"errorCode": str(number), "errorMessage": echo, "status": "pending"})

    return act


def coded(code: str) -> Act:
    """A business error whose text repeats the request."""

    def act(_: httpx.Request, echo: str) -> httpx.Response:
        reason = {"node_name": echo, "exception_message": echo, "exception_type": echo}
        return httpx.Response(
            200, json={"errorCode": code, "errorMessage": echo, "status": "FAILED", "failedReason": reason}
        )

    return act


def broken(kind: type[httpx.TransportError]) -> Act:
    """No answer; the error repeats the request, as those of httpcore and h11 may."""

    def act(_: httpx.Request, echo: str) -> httpx.Response:
        raise kind(f"illegal status line: bytearray(b'{echo}')")

    return act


def results(count: int = 12, host: str = FILES_HOST) -> Act:
    """A job that has ended well; its results lie behind signed URLs."""

    def act(_: httpx.Request, echo: str) -> httpx.Response:
        files = [
            {"url": f"https://{host}/{n}.jpg?Expires=1&sign={SIGNED}", "nodeId": "9", "outputType": "jpg"}
            for n in range(1, count + 1)
        ]
        return httpx.Response(200, json={"taskId": JOB, "status": "SUCCESS", "results": files, "errorMessage": echo})

    return act


def _vendor(request: httpx.Request, echo: str) -> httpx.Response:
    path = request.url.path
    if path.endswith("/queue/status"):
        return httpx.Response(200, json={"code": 0, "data": {"concurrentLimit": "3", "runningCount": 0}, "msg": echo})
    if "upload" in path:
        return httpx.Response(200, json={"code": 0, "data": {"fileName": "api/1.jpg"}, "message": echo})
    if "/run/" in path:
        return httpx.Response(200, json={"taskId": JOB, "status": "RUNNING", "errorMessage": echo})
    if "cancel" in path:
        return httpx.Response(200, json={"code": 0, "msg": echo})
    return results()(request, echo)


def _file(request: httpx.Request, _: str) -> httpx.Response:
    body = JPEG + request.url.path.encode() + JPEG_END
    headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(body))}
    return httpx.Response(200, headers=headers, stream=_Once(body))


class _Once(httpx.AsyncByteStream):
    """A body that is not read yet, as one from the network."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def _backend(_: httpx.Request, echo: str) -> httpx.Response:
    return httpx.Response(200, json={"ok": True, "echo": echo})


class Harness(TicketHarness):
    """A harness whose vendor and backend are reached by the product's own clients.

    Args:
        plants: what must not come out of it; what this harness makes itself is added.
    """

    def __init__(self, plants: Plants) -> None:
        super().__init__()
        self.plants = plants
        self.vendor_site = Site(_vendor)
        self.file_site = Site(_file)
        self.backend_site = Site(_backend)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        backend = Backend(
            base_url="https://backend.harness.example",
            secret=Secret(ENVIRONMENT["INTERNAL_CALLBACK_SECRET"]),
            clock=self.now,
            transport=self.backend_site.transport(),
        )
        vendor = RunningHub(
            base_url="https://vendor.example",
            api_key=Secret(ENVIRONMENT["RUNNINGHUB_API_KEY"]),
            workflows={"model_pose12": _WORKFLOW},
            transport=self.vendor_site.transport,
        )
        fetcher = Fetcher(
            allowed_hosts=frozenset({FILES_HOST}),
            max_bytes=1 << 20,
            timeout=10,
            resolve=self.files.resolve,
            transport=self.file_site.transport,
        )
        for client in (backend, vendor, fetcher):
            self._stack.push_async_callback(client.close)
        self.out = dataclasses.replace(
            self.out,
            backend=backend,
            vendors=Vendors([InstrumentedVendor(vendor)]),
            fetcher=fetcher,
            webhooks=Webhooks(_HOOKS, Secret(ENVIRONMENT["WEBHOOK_SECRET"])),
            policy=Policy(ticket_secret=Secret(ENVIRONMENT["TICKET_SECRET"])),
        )
        self.engine = self.new_engine()
        self.plants.add("a result's signature", SIGNED)
        return self

    def ticket(self, run: Any, kind: str = "basic_clean", params: Any = None, **changes: Any) -> str:
        secret = changes.pop("secret", Secret(ENVIRONMENT["TICKET_SECRET"]))
        made = super().ticket(run, kind, params, secret=secret, **changes)
        self.plants.add(f"the ticket of {run.task}", made)
        self.plants.add(f"the seal of the ticket of {run.task}", made.rpartition(".")[2])
        for n in (1, 2):
            hook = self.out.webhooks.url("runninghub", run, 1, n)
            self.plants.add(f"the webhook's token of {run.task}, call {n}", hook.rpartition("/")[2])
        return made

    async def outputs_of_all(self) -> list[tuple[str, bytes | str]]:
        """Everything that is kept or was sent, each with a name. Left out on purpose:

        - `input/`: the uploader's objects, with the ticket, which only we and the uploader may read;
        - the headers `X-Internal-Signature` and `X-Internal-Signature-V2` of callbacks, and requests to the vendor (its
          key, the webhook's URL): on the wire, to their receivers.
        """
        found: list[tuple[str, bytes | str]] = [(f"message on {sent.topic}", sent.payload) for sent in self.wire.sent]
        for bucket in (self.ledger.objects, self.data):
            for item in (await bucket.list("")).items:
                if not item.key.startswith("input/"):
                    content = await bucket.get(item.key)
                    found += [(item.key, content.body), (f"headers of {item.key}", repr(content.info))]
        for request, body in self.backend_site.heard:
            headers = {name: value for name, value in request.headers.items() if not name.startswith("x-internal-")}
            found += [(f"callback {request.url.path}", body), (f"headers of callback {request.url}", repr(headers))]
        return found
