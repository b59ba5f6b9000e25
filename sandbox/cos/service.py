"""What the stand-in's verbs share: the store, the clock, the threads, and how bodies come in and events go out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar
from urllib.parse import quote

from sandbox.cos.ci.audit import AuditRules
from sandbox.cos.errors import Refused
from sandbox.cos.events import Created, Events, created_event
from sandbox.cos.faults import FaultKind, Faults
from sandbox.cos.http.address import Resolver
from sandbox.cos.http.wire import CosRequest
from sandbox.cos.store import Blob, BlobWriter, Entry, Store

__all__ = ["MAX_PUT_BYTES", "Service", "check_digest", "spool"]

P = ParamSpec("P")
T = TypeVar("T")

MAX_PUT_BYTES = 5 << 30
"""Bytes of one PUT."""

_PIECE = 1 << 20


@dataclass(slots=True)
class Service:
    """One running stand-in."""

    store: Store
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    resolver: Resolver
    region: str
    appid: str
    event_prefixes: Mapping[str, str]
    """Bucket -> prefix under which created objects have events."""
    versioning: Mapping[str, str]
    """Bucket -> Enabled or Suspended; buckets that are not named never kept versions."""
    audit: AuditRules
    events: Events
    faults: Faults = field(default_factory=Faults)
    requests: Counter[str] = field(default_factory=Counter[str])
    """`VERB STATUS` -> answers."""
    disk: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "cos-disk"))
    painters: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "cos-pictures"))

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that waits for the disk in a thread."""
        return await self._in(self.disk, functools.partial(function, *args, **kwargs))

    async def paint(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that works on pixels in a thread."""
        return await self._in(self.painters, functools.partial(function, *args, **kwargs))

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def close(self) -> None:
        """End the threads and close the store. Closing twice is harmless."""
        self.painters.shutdown()
        self.disk.shutdown()
        self.store.close()

    def location(self, bucket: str, key: str) -> str:
        """The address COS gives for an object in its answers."""
        return f"{bucket}.cos.{self.region}.myqcloud.com/{quote(key)}"

    def announce(self, call: CosRequest, entry: Entry, name: str) -> None:
        """Have the event of a created object delivered after the answer, if its prefix has events."""
        prefix = self.event_prefixes.get(call.bucket)
        if prefix is None or not entry.key.startswith(prefix):
            return
        created = Created(
            name=name,
            bucket=call.bucket,
            key=entry.key,
            size=entry.size,
            etag=entry.etag,
            headers=entry.headers,
            when=self.clock(),
            request_id=call.request_id,
            client=call.client,
            authorization=call.headers.get("authorization", ""),
        )
        if self.faults.take(FaultKind.LOST_EVENT, call.method, entry.key):
            return
        copies = 2 if self.faults.take(FaultKind.DUPLICATE_EVENT, call.method, entry.key) else 1
        event = created_event(created, region=self.region, appid=self.appid)
        self.events.announce(event, call.answered, copies=copies)


async def spool(service: Service, call: CosRequest) -> Blob:
    """Write the request's body to disk, with flat memory.

    Raises:
        Refused: its size or digest is not the announced one, or it is too large; nothing is kept.
        ClientGone: it did not come whole; nothing is kept.
    """
    declared = _declared_size(call)
    writer = service.store.writer()
    try:
        blob = await _write(service, call, writer, declared)
    except BaseException:
        await asyncio.shield(service.run(writer.discard))
        raise
    if "content-md5" in call.headers and _digest(call.headers["content-md5"]) != blob.etag:
        await service.run(service.store.drop, blob)
        raise Refused(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    return blob


async def _write(service: Service, call: CosRequest, writer: BlobWriter, declared: int | None) -> Blob:
    pieces: list[bytes] = []
    buffered = size = 0
    async for piece in call.body():
        pieces.append(piece)
        buffered += len(piece)
        size += len(piece)
        if size > MAX_PUT_BYTES:
            raise Refused(400, "EntityTooLarge", "The object exceeds the maximum size.")
        if buffered >= _PIECE:
            await service.run(writer.write, b"".join(pieces))
            pieces, buffered = [], 0
    if declared is not None and size != declared:
        raise Refused(400, "IncompleteBody", "The body is not as long as its Content-Length.")
    return await service.run(writer.finish, b"".join(pieces))


def _declared_size(call: CosRequest) -> int | None:
    length = call.headers.get("content-length")
    chunked = "transfer-encoding" in call.headers
    if length is None and not chunked:
        raise Refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if length is not None and (chunked or not length.isdigit()):
        raise Refused(400, "InvalidArgument", "Content-Length and Transfer-Encoding contradict each other.")
    return None if length is None else int(length)


def check_digest(call: CosRequest, hex_md5: str) -> None:
    """For requests that must carry a Content-MD5.

    Raises:
        Refused: 400: it is missing or wrong.
    """
    if "content-md5" not in call.headers:
        raise Refused(400, "MissingRequestBodyMD5", "This request needs a Content-MD5.")
    if _digest(call.headers["content-md5"]) != hex_md5:
        raise Refused(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")


def _digest(header: str) -> str:
    try:
        return base64.b64decode(header, validate=True).hex()
    except binascii.Error as error:
        raise Refused(400, "InvalidDigest", "The Content-MD5 you specified is not valid.") from error
