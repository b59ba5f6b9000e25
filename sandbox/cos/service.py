"""State that the stand-in's request handlers share: store, clock and threads; reading of bodies, sending of events."""

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
from sandbox.cos.ci.videos import MediaJob, VideoJob
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
"""Largest body in bytes of one PUT."""

_PIECE = 1 << 20


@dataclass(slots=True)
class Service:
    """Running stand-in."""

    store: Store
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    resolver: Resolver
    region: str
    appid: str
    event_prefixes: Mapping[str, str]
    """Bucket -> prefix of the created objects that have events."""
    versioning: Mapping[str, str]
    """Bucket -> Enabled or Suspended; other buckets never kept versions."""
    audit: AuditRules
    events: Events
    faults: Faults = field(default_factory=Faults)
    requests: Counter[str] = field(default_factory=Counter[str])
    """`VERB STATUS` -> number of answers."""
    video_jobs: dict[str, VideoJob] = field(default_factory=dict[str, VideoJob])
    """Id -> audit of a video."""
    media_jobs: dict[str, MediaJob] = field(default_factory=dict[str, MediaJob])
    """Id -> transcoding of a video."""
    disk: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "cos-disk"))
    pixel_threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "cos-pictures"))

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that waits for the disk, in a thread."""
        return await self._in(self.disk, functools.partial(function, *args, **kwargs))

    async def run_pixels(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that processes pixels, in a thread."""
        return await self._in(self.pixel_threads, functools.partial(function, *args, **kwargs))

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def close(self) -> None:
        """End the threads and close the store. Closing twice is harmless."""
        self.pixel_threads.shutdown()
        self.disk.shutdown()
        self.store.close()

    def location(self, bucket: str, key: str) -> str:
        """Return the address of an object in COS's answers."""
        return f"{bucket}.cos.{self.region}.myqcloud.com/{quote(key)}"

    def announce(self, request: CosRequest, entry: Entry, name: str) -> None:
        """Deliver the event of a created object after the answer, if its prefix has events."""
        prefix = self.event_prefixes.get(request.bucket)
        if prefix is None or not entry.key.startswith(prefix):
            return
        created = Created(
            name=name,
            bucket=request.bucket,
            key=entry.key,
            size=entry.size,
            etag=entry.etag,
            headers=entry.headers,
            when=self.clock(),
            request_id=request.request_id,
            client=request.client,
            authorization=request.headers.get("authorization", ""),
        )
        if self.faults.take(FaultKind.LOST_EVENT, request.method, entry.key):
            return
        copies = 2 if self.faults.take(FaultKind.DUPLICATE_EVENT, request.method, entry.key) else 1
        event = created_event(created, region=self.region, appid=self.appid)
        self.events.announce(event, request.answered, copies=copies)


async def spool(service: Service, request: CosRequest) -> Blob:
    """Write the request's body to disk with constant memory.

    Raises:
        Refused: its size or digest differs from the header's, or it is too large; nothing is stored.
        ClientGone: it is incomplete; nothing is stored.
    """
    declared = _declared_size(request)
    writer = service.store.writer()
    try:
        blob = await _write(service, request, writer, declared)
    except BaseException:
        await asyncio.shield(service.run(writer.discard))
        raise
    if "content-md5" in request.headers and _digest(request.headers["content-md5"]) != blob.etag:
        await service.run(service.store.drop, blob)
        raise Refused(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    return blob


async def _write(service: Service, request: CosRequest, writer: BlobWriter, declared: int | None) -> Blob:
    pieces: list[bytes] = []
    buffered = size = 0
    async for piece in request.body():
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


def _declared_size(request: CosRequest) -> int | None:
    length = request.headers.get("content-length")
    chunked = "transfer-encoding" in request.headers
    if length is None and not chunked:
        raise Refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if length is not None and (chunked or not length.isdigit()):
        raise Refused(400, "InvalidArgument", "Content-Length and Transfer-Encoding contradict each other.")
    return None if length is None else int(length)


def check_digest(request: CosRequest, hex_md5: str) -> None:
    """Check the Content-MD5 of a request that must have one.

    Raises:
        Refused: 400: it is missing or wrong.
    """
    if "content-md5" not in request.headers:
        raise Refused(400, "MissingRequestBodyMD5", "This request needs a Content-MD5.")
    if _digest(request.headers["content-md5"]) != hex_md5:
        raise Refused(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")


def _digest(header: str) -> str:
    try:
        return base64.b64decode(header, validate=True).hex()
    except binascii.Error as error:
        raise Refused(400, "InvalidDigest", "The Content-MD5 you specified is not valid.") from error
