"""Requests and answers, which the server and the request handlers exchange."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, quote

from sandbox.cos.errors import CosStandInError, Refused
from sandbox.cos.http.address import Address, split_absolute
from sandbox.cos.http.xml import Node, render

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["Answer", "ClientGone", "Connection", "CosRequest", "error_answer", "send_answer", "xml_answer"]


class ClientGone(CosStandInError):
    """The client disconnected before its request was complete."""


class Connection:
    """Access to the connection in the server. Uvicorn exposes its request cycle as the owner of `send`.

    Uvicorn adds a `date` and a `server` header of its own. COS's Date is the store's clock, which the ledger uses, and
    a client would join two of them into one unreadable value; so uvicorn's are removed.

    Args:
        receive: as given by the server.
        send: as given by the server, not wrapped.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._cycle: Any = getattr(send, "__self__", None)
        if self._cycle is not None and hasattr(self._cycle, "default_headers"):
            self._cycle.default_headers = []

    async def cut(self) -> None:
        """Cut the connection without an answer.

        Raises:
            ConnectionResetError: there is no connection, as with an in-process client, which gets this error.
        """
        transport: Any = getattr(self._cycle, "transport", None)
        if transport is None:
            raise ConnectionResetError("cut by an armed fault")
        transport.abort()
        while (await self._receive())["type"] != "http.disconnect":
            pass


@dataclass(slots=True)
class CosRequest:
    """Request to COS."""

    method: str
    host: str
    raw_path: str
    query: tuple[tuple[str, str], ...]
    """Decoded parameters in the order sent."""
    headers: Mapping[str, str]
    """Headers by lower-case name."""
    client: str
    """Address of the caller."""
    receive: Receive
    address: Address = field(default_factory=lambda: Address("", "", (), ()))
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the answer was sent, or when it cannot be sent any more."""
    verb: str = "(refused)"
    """Name of the verb in statistics."""
    ambiguous: bool = False
    consumed: bool = False

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> CosRequest:
        """Read an ASGI scope."""
        pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        headers = dict(pairs)
        raw_path: str = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
        host = headers.get("host", "")
        if absolute := split_absolute(raw_path):
            host, raw_path = absolute
            headers["host"] = host
        client = scope.get("client") or ("", 0)
        query = scope["query_string"].decode("latin-1")
        params = tuple(parse_qsl(query, keep_blank_values=True))
        return cls(
            scope["method"], host, raw_path, params, headers, client[0], receive, ambiguous=len(pairs) != len(headers)
        )

    def check(self) -> None:
        """Refuse a request that can be read in two ways.

        Raises:
            Refused: 400: a header is given twice.
        """
        if self.ambiguous:
            raise Refused(400, "InvalidArgument", "A header is given twice.")

    @property
    def bucket(self) -> str:
        """Full name of the bucket."""
        return self.address.bucket

    @property
    def key(self) -> str:
        """Key of the object; empty for the bucket itself."""
        return self.address.key

    def param(self, name: str) -> str:
        """Return a query parameter; empty if it was not sent."""
        return next((value for found, value in self.query if found == name), "")

    def encoded(self, text: str) -> str:
        """Return a key for a document: percent-encoded if the caller requested `encoding-type=url`."""
        return quote(text) if self.param("encoding-type") == "url" else text

    async def body(self) -> AsyncIterator[bytes]:
        """Iterate over the request's body.

        Raises:
            ClientGone: it is incomplete.
        """
        while not self.consumed:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            self.consumed = not message.get("more_body", False)
            if piece := message.get("body", b""):
                yield piece

    async def read(self, limit: int = 1 << 20) -> bytes:
        """Read a small body as a whole.

        Raises:
            Refused: 400: over `limit` bytes.
            ClientGone: it is incomplete.
        """
        pieces: list[bytes] = []
        size = 0
        async for piece in self.body():
            size += len(piece)
            if size > limit:
                raise Refused(400, "EntityTooLarge", f"At most {limit} bytes are taken here.")
            pieces.append(piece)
        return b"".join(pieces)


@dataclass(slots=True)
class Answer:
    """Answer of COS. `Date`, `Server`, `Content-Length` and `x-cos-request-id` are added when it is sent."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Header names as COS spells them: the SDK compares them case-sensitively."""
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    """Instead of `body`."""
    length: int | None = None
    """Bytes of the stream; for HEAD, of the body that GET would send."""
    file: BinaryIO | None = None
    """File that the stream reads; the sender of the answer closes it."""


def xml_answer(root: str, node: Node, headers: list[tuple[str, str]] | None = None) -> Answer:
    """Return 200 with a document."""
    return Answer(200, [("Content-Type", "application/xml"), *(headers or [])], render(root, node))


def error_answer(refused: Refused, request: CosRequest) -> Answer:
    """Return the four elements that the SDK requires, none of them empty (HEAD has no body)."""
    if request.method == "HEAD":
        return Answer(refused.status)
    node = [
        ("Code", refused.code),
        ("Message", refused.message),
        ("Resource", quote(request.host + request.raw_path, safe="/:%.-_~") or "/"),
        ("RequestId", request.request_id),
        ("TraceId", request.request_id),
    ]
    return Answer(refused.status, [("Content-Type", "application/xml")], render("Error", node))


async def send_answer(answer: Answer, request: CosRequest, send: Send, now: float) -> None:
    """Send an answer with the header names spelled as given.

    Args:
        answer: the answer.
        request: its request.
        send: ASGI's `send`.
        now: time of the store's clock.
    """
    length = len(answer.body) if answer.length is None else answer.length
    headers = [("Date", formatdate(now, usegmt=True)), ("Server", "tencent-cos"), *answer.headers]
    if answer.status not in {204, 304}:
        headers.append(("Content-Length", str(length)))
    headers.append(("x-cos-request-id", request.request_id))
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if answer.stream is not None:
        async for piece in answer.stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
