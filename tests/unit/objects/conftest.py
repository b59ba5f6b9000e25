"""A COS with answers that a test sets: one thread for each connection, no loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from services.objects.cos import CosObjects, Credentials
from telemetry.secrets import Secret
from tests.support.patience import PATIENCE_S

BUCKET = "pictures-1250000000"


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    """Its first MiB."""
    received: int
    connection: int


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    length: int | None = None
    """Content-Length, if it is not the body's."""
    hold: threading.Event | None = None
    """Waited for after the body, before the connection is closed."""


class Scripted:
    """Keeps its requests, and answers with `script`; None from the script cuts the connection."""

    answer = Answer

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.script: Callable[[Request], Answer | None] = lambda _: Answer()
        self.read_bodies = True
        self.ended = threading.Semaphore(0)
        """Released when a connection ends."""
        self.held = threading.Semaphore(0)
        """Released when an answer is held back."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHandler", (Handler,), {"scripted": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def say(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.script = lambda _: Answer(status, body, named)

    @staticmethod
    async def seen(signal: threading.Semaphore) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not signal.acquire(blocking=False):  # noqa: ASYNC110 - another thread releases it
                await asyncio.sleep(0.005)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scripted: Scripted

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True
        finally:
            self.scripted.ended.release()

    def log_message(self, *_: Any) -> None:
        return

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body, received = self._read(size if self.scripted.read_bodies else 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, received, self.client_address[1])
        self.scripted.requests.append(request)
        cut = received < size
        answer = None if cut and self.scripted.read_bodies else self.scripted.script(request)
        self.close_connection = cut or answer is None
        if answer is not None:
            self._answer(answer)

    def _read(self, size: int) -> tuple[bytes, int]:
        body, received = b"", 0
        while received < size and (piece := self.rfile.read(min(1 << 20, size - received))):
            body, received = body or piece, received + len(piece)
        return body, received

    def _answer(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        length = len(answer.body) if answer.length is None else answer.length
        for name, value in {"Content-Length": str(length), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.hold:
            self.wfile.flush()
            self.scripted.held.release()
            answer.hold.wait(20)
        if length != len(answer.body) and self.command != "HEAD":
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - the base class's names


@pytest.fixture
def cos() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.stop()


class Keys:
    """Credentials that a test may change between two calls."""

    def __init__(self) -> None:
        self.now = Credentials(Secret("AKIDone"), Secret("key-one"))

    def __call__(self) -> Credentials:
        return self.now


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def objects(cos: Scripted, keys: Keys) -> Iterator[CosObjects]:
    store = CosObjects(bucket=BUCKET, region="ap-guangzhou", credentials=keys, endpoint=cos.url, pool=2, timeout=5.0)
    yield store
    asyncio.run(store.close())
