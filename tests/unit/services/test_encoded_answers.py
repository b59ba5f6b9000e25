"""Every client of other services, on answers that were compressed twice: none of them is unpacked."""

from __future__ import annotations

import asyncio
import functools
import gzip
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx  # noqa: F401 - the clients import it late, and tests make clients inside a running loop
import pytest

from console.cli.client import Client, Sold
from messages.errors import ScfWorkersError
from services.backend import Backend, Callback
from services.errors import BackendDown, ResultUnusable
from services.fetch import Fetcher
from services.objects.cos import CosObjects, Credentials
from services.objects.memory import MemoryObjects
from services.vendors.ark.client import Ark
from services.vendors.port import JobRequest
from services.vendors.runninghub.client import Node, RunningHub, Workflow
from telemetry.secrets import Secret

JOB: Final = "2013508786110730241"
VENDOR: Final = (
    b'{"code": 0, "msg": "success", "taskId": "%b", "status": "RUNNING", "errorCode": "", "data": {"taskId": "%b",'
    b' "taskStatus": "RUNNING", "fileName": "api/a.jpg"}}' % (JOB.encode(), JOB.encode())
)
UNFINISHED: Final = b'{"rows": [], "cursor": null}'
STATE: Final = b'{"status": "success", "user_id": "u"}'
PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(100)
LISTED: Final = (
    b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated><Contents><Key>a</Key><ETag>&quot;e&quot;</ETag>"
    b"<Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
)
NOT_THERE: Final = b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>"

UNPACKED: Final = 32 << 20
"""Size of the uncompressed content in bytes, with the blanks or zeros after it."""

MOST: Final = UNPACKED // 4
"""Bytes that reading may take at once."""


@functools.cache
def packed(content: bytes, filler: bytes, size: int) -> bytes:
    """A true answer, long and compressed twice: less than a kilobyte."""
    return gzip.compress(gzip.compress(content + filler * (size - len(content)), 6))


class Other:
    """A foreign server: gives one answer to every request."""

    def __init__(self) -> None:
        self.status, self.body, self.encoding = 200, b"", ""
        self.asked_for: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHandler", (Handler,), {"other": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def say(self, content: bytes, status: int = 200) -> None:
        self.status, self.body, self.encoding = status, content, ""

    def say_packed(self, content: bytes, status: int = 200, filler: bytes = b" ", size: int = UNPACKED) -> None:
        self.status, self.body, self.encoding = status, packed(content, filler, max(size, len(content))), "gzip, gzip"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    other: Other

    def log_message(self, *_: Any) -> None:
        return

    def _serve(self) -> None:
        self.other.asked_for.add(self.headers.get("Accept-Encoding", "nothing"))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response_only(self.other.status)
        self.send_header("Content-Length", str(len(self.other.body)))
        if self.other.encoding:
            self.send_header("Content-Encoding", self.other.encoding)
        self.end_headers()
        self.wfile.write(self.other.body)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the base class's names


@pytest.fixture
def other() -> Iterator[Other]:
    server = Other()
    yield server
    server.stop()


async def sparingly(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Return the answer, or the error in its place, and check that little memory was used."""
    tracemalloc.start()
    try:
        answer: Any = await ask()
    except ScfWorkersError as error:
        answer = error
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MOST
    return answer


sizes = pytest.mark.parametrize("size", [0, UNPACKED], ids=["short", "long"])
"""A short answer would be taken for a true one if it were unpacked; a long one takes memory even if it is not."""


# ---- the vendor --------------------------------------------------------------------------------------------------


class Photo:
    size = 3

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"\xff\xd8\xff"


VENDOR_CALLS: Final[dict[str, Callable[[RunningHub], Awaitable[Any]]]] = {
    "create": lambda vendor: vendor.create(JobRequest("pose", {"photo": "api/a.jpg"}), timeout=5.0),
    "query": lambda vendor: vendor.query(JOB, kind="pose"),
    "upload": lambda vendor: vendor.upload(Photo(), filename="a.jpg", content_type="image/jpeg"),
}


@sizes
@pytest.mark.parametrize("call", VENDOR_CALLS)
async def test_no_answer_of_the_vendor_is_unpacked(other: Other, call: str, size: int) -> None:
    workflows = {"pose": Workflow("1", {"photo": Node("10", "image")})}
    vendor = RunningHub(base_url=other.url, api_key=Secret("k" * 32), workflows=workflows, timeout=5.0)
    try:
        other.say(VENDOR)
        assert not isinstance(await sparingly(lambda: VENDOR_CALLS[call](vendor)), ScfWorkersError)
        other.say_packed(VENDOR, size=size)
        assert isinstance(await sparingly(lambda: VENDOR_CALLS[call](vendor)), ScfWorkersError)
    finally:
        await vendor.close()
    assert other.asked_for == {"identity"}


@sizes
async def test_no_picture_of_ark_is_unpacked(other: Other, size: int) -> None:
    ark = Ark(base_url=other.url, api_key=Secret("k" * 32), model="doubao-seedream-4-0-250828", timeout=5.0)
    drawn = b'{"data": [{"url": "https://files.example/1.jpeg"}]}'
    request = JobRequest("k", {}, {"prompt": "a dress"})
    try:
        other.say(drawn)
        assert not isinstance(await sparingly(lambda: ark.create(request, timeout=5.0)), ScfWorkersError)
        other.say_packed(drawn, size=size)
        assert isinstance(await sparingly(lambda: ark.create(request, timeout=5.0)), ScfWorkersError)
    finally:
        await ark.close()
    assert other.asked_for == {"identity"}


# ---- the backend -------------------------------------------------------------------------------------------------


async def _conflict(backend: Backend) -> str:
    return (await backend.deliver(Callback(task="t", status="failed", code="timeout"))).answered


BACKEND_CALLS: Final[dict[str, tuple[bytes, int, Callable[[Backend], Awaitable[Any]]]]] = {
    "unfinished": (UNFINISHED, 200, lambda backend: backend.unfinished(600)),
    "state": (STATE, 200, lambda backend: backend.state("t", 0)),
    "deliver": (STATE, 409, _conflict),
}


@sizes
@pytest.mark.parametrize("call", BACKEND_CALLS)
async def test_no_answer_of_the_backend_is_unpacked(other: Other, call: str, size: int) -> None:
    content, status, ask = BACKEND_CALLS[call]
    backend = Backend(base_url=other.url, secret=Secret("s" * 32), clock=time.time)
    try:
        other.say(content, status)
        plain = await sparingly(lambda: ask(backend))
        assert plain
        assert not isinstance(plain, ScfWorkersError)
        other.say_packed(content, status, size=size)
        answer = await sparingly(lambda: ask(backend))
    finally:
        await backend.close()
    assert isinstance(answer, BackendDown) if call == "unfinished" else not answer
    assert other.asked_for == {"identity"}


@sizes
async def test_nor_does_the_command_line_unpack_one(other: Other, size: int) -> None:
    objects = MemoryObjects(bucket="photos-1250000000", clock=lambda: 1.0)
    client = Client(other.url, objects, objects)
    sold = Sold("t-1", "u-1", "basic_clean", "", {})
    try:
        other.say(STATE)
        assert await sparingly(lambda: client.status(sold)) == "success"
        other.say_packed(STATE, size=size)
        assert isinstance(await sparingly(lambda: client.status(sold)), BackendDown)
    finally:
        await client.close()
    assert other.asked_for == {"identity"}


# ---- files of results --------------------------------------------------------------------------------------------


@sizes
async def test_no_file_of_a_result_is_unpacked(other: Other, size: int) -> None:
    pair = frozenset({f"127.0.0.1:{other.port}"})
    guard = Fetcher(allowed_hosts=frozenset(), allow_private=pair, max_bytes=2 * UNPACKED, timeout=5.0)

    async def fetch() -> bytes:
        async with guard.open(f"{other.url}/a.png") as fetched:
            return b"".join([piece async for piece in fetched])

    try:
        other.say(PNG)
        assert await sparingly(fetch) == PNG
        other.say_packed(PNG, filler=b"\0", size=size)
        assert isinstance(await sparingly(fetch), ResultUnusable)
    finally:
        await guard.close()
    assert other.asked_for == {"identity"}


# ---- the store ---------------------------------------------------------------------------------------------------


@pytest.fixture
def store(other: Other) -> Iterator[CosObjects]:
    keys = Credentials(Secret("AKIDone"), Secret("key-one"))
    made = CosObjects(
        bucket="pictures-1250000000", region="ap-guangzhou", credentials=lambda: keys, endpoint=other.url, timeout=5.0
    )
    yield made
    asyncio.run(made.close())


@sizes
async def test_an_object_that_is_stored_packed_stays_so(other: Other, store: CosObjects, size: int) -> None:
    other.say_packed(b"a", size=size)
    assert (await sparingly(lambda: store.get("a"))).body == other.body
    assert other.asked_for == {"identity"}


@sizes
async def test_no_list_of_the_store_is_unpacked(other: Other, store: CosObjects, size: int) -> None:
    other.say(LISTED)
    assert [item.key for item in (await store.list("a")).items] == ["a"]
    other.say_packed(LISTED, size=size)
    assert isinstance(await sparingly(lambda: store.list("a")), ScfWorkersError)


@sizes
async def test_no_error_of_the_store_is_unpacked(other: Other, store: CosObjects, size: int) -> None:
    other.say_packed(NOT_THERE, 404, size=size)
    error = await sparingly(lambda: store.get("a"))
    assert isinstance(error, ScfWorkersError)
    assert "NoSuchKey" not in str(error)
