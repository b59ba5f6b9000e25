"""The object store in memory: for tests and for the simulation, with the semantics of the port and of COS.

It returns no more than COS does, so that no code depends on more: times are whole seconds, a listing has no metadata, a
copy has no size. It never waits, but yields to the loop at every call, so that calls interleave.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Final, Protocol
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec

from messages.errors import Permanent
from services.errors import AuditDown, BadVideo, Changed, Denied, Exists, LabelDown, NotFound
from services.objects import _checks as checks
from services.objects._streams import PIECE, Incoming
from services.objects.port import (
    Audit,
    Content,
    Download,
    ObjectInfo,
    Objects,
    Page,
    PictureInfo,
    PictureRule,
    Processed,
    Result,
    Source,
    VideoInfo,
    VideoLabel,
)

__all__ = ["Faults", "MemoryObjects", "ProcessedPicture", "VideoService"]

_FAILED: Final = -1
_AS_IT_IS: Final = "imageMogr2/strip"  # changes neither format nor size: returns those of the original


class ProcessedPicture(Protocol):
    """Result of the picture processor for one rule."""

    @property
    def body(self) -> bytes:
        """The new picture."""
        ...

    @property
    def format(self) -> str:
        """Lower case, such as jpeg, png or webp."""
        ...

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...


class VideoService(Protocol):
    """The video service of a bucket in memory: it reads a video's bytes."""

    def info(self, body: bytes) -> VideoInfo:
        """Return what the port's `video_info` does; raises `services.errors.BadVideo`."""
        ...

    def still(self, body: bytes, at_s: float) -> bytes:
        """Return the still of the port's `snapshot`; raises likewise."""
        ...

    def labelled(self, body: bytes, label: VideoLabel) -> bytes:
        """Return the video that the port's `submit_video_label` stores; raises likewise."""
        ...


class Faults(Protocol):
    """Injected fault: awaited before (`done` is False) and after (True) the effect of an operation on a key.

    The caller gets the exception that it raises; after a write, that is a lost answer of a stored write.
    Operations have the names of the port's methods; `read` is each piece of a download.
    """

    def __call__(self, operation: str, key: str, *, done: bool) -> Awaitable[None]:
        """Return to continue the operation, wait to delay it, raise to fail it."""
        ...


class MemoryObjects(Objects):
    """A bucket in memory.

    Args:
        bucket: its name.
        clock: the store's clock, seconds since the epoch.
        process: the picture processor: bytes and rule to a picture; raises `services.errors.BadPicture` for bytes that
            are no picture and `messages.errors.Permanent` for a rule it does not know. It runs on the loop.
        audit: the content audit: key and bytes to a finding; without it all is clean.
        audit_text: the same for texts.
        videos: the video service.
        faults: injected faults; may be set at any time.
        keeps_versions: the bucket keeps versions, so create-only puts overwrite (COS, "PUT Object",
            x-cos-forbid-overwrite).
    """

    def __init__(  # noqa: PLR0913 - what stands in for each service, by keyword
        self,
        *,
        bucket: str,
        clock: Callable[[], float],
        process: Callable[[bytes, str], ProcessedPicture] | None = None,
        audit: Callable[[str, bytes], Result] | None = None,
        audit_text: Callable[[str], Result] | None = None,
        videos: VideoService | None = None,
        faults: Faults | None = None,
        keeps_versions: bool = False,
    ) -> None:
        self.faults = faults
        self._bucket = bucket
        self._clock = clock
        self._process = process
        self._audit = audit
        self._audit_text = audit_text
        self._videos = videos
        self._keeps_versions = keeps_versions
        self._stored: dict[str, Content] = {}
        self._jobs: dict[str, tuple[str, int]] = {}
        self.audit_looks = 1
        """Looks at which an audit of a video, or the job of its label, is still at work."""
        self._label_jobs: dict[str, int] = {}

    async def put(
        self, key: str, body: bytes | Source, *, content_type: str = "", meta: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Store an object; see the port."""
        checks.check_key(key)
        given = checks.check_meta(meta)
        checks.check_size(key, len(body) if isinstance(body, bytes) else body.size)
        whole = body if isinstance(body, bytes) else await _drained(key, body)
        await self._before("put", key)
        info = self._store(key, whole, content_type, given)
        await self._after("put", key)
        return msgspec.structs.replace(info, content_type=content_type)

    async def put_new(self, key: str, body: bytes, *, content_type: str = "") -> ObjectInfo:
        """Store an object only if none is there; see the port."""
        checks.check_key(key)
        checks.check_size(key, len(body))
        await self._before("put_new", key)
        if key in self._stored and not self._keeps_versions:
            raise Exists(f"put_new {key!r}: something is there")
        info = self._store(key, body, content_type, {})
        await self._after("put_new", key)
        return msgspec.structs.replace(info, content_type=content_type)

    async def get(self, key: str, *, if_match: str = "", limit: int = 1 << 20) -> Content:
        """Return a whole small object; see the port."""
        checks.check_key(key)
        await self._before("get", key)
        content = self._found("get", key, if_match)
        await self._after("get", key)
        if len(content.body) > limit:
            raise Permanent(f"get {key!r}: it has more than {limit} bytes")
        return content

    def open(self, key: str, *, if_match: str = "") -> AbstractAsyncContextManager[Download]:
        """Read a large object piece by piece; see the port."""
        return self._open(checks.check_key(key), if_match)

    async def head(self, key: str) -> ObjectInfo:
        """Return the object's size, time and metadata; see the port."""
        checks.check_key(key)
        await self._before("head", key)
        content = self._found("head", key, "")
        await self._after("head", key)
        return content.info

    async def copy(self, source: str, target: str, *, if_match: str = "") -> ObjectInfo:
        """Copy inside the bucket; see the port."""
        checks.check_key(source)
        checks.check_key(target)
        await self._before("copy", target)
        content = self._found("copy", source, if_match)
        info = self._store(target, content.body, content.info.content_type, content.info.meta)
        await self._after("copy", target)
        return ObjectInfo(key=target, etag=info.etag, size=0, modified=info.modified, date=info.date)

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; see the port."""
        for key in [checks.check_key(key) for key in keys]:
            await self._before("delete", key)
            self._stored.pop(key, None)
            await self._after("delete", key)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Page:
        """Return one page of a listing; see the port."""
        checks.check_prefix(prefix)
        first = checks.check_prefix(after).encode()
        most = checks.check_limit(limit)
        await self._before("list", prefix)
        date = self._now()
        keys = sorted((key.encode(), key) for key in self._stored if key.startswith(prefix))
        later = [key for raw, key in keys if raw > first]
        items = tuple(
            msgspec.structs.replace(self._stored[key].info, content_type="", meta={}, date=date) for key in later[:most]
        )
        await self._after("list", prefix)
        return Page(items, next_after=items[-1].key if len(later) > most else "", date=date)

    async def presign(self, key: str, *, expires: int, method: str = "GET") -> str:
        """Return a `memory://` URL for `visit`; see the port."""
        checks.check_key(key)
        checks.check_expires(expires)
        await self._before("presign", key)
        end = int(self._clock()) + expires
        await self._after("presign", key)
        return f"memory://{self._bucket}/{quote(key)}?method={method}&expires={end}"

    async def visit(self, url: str, *, method: str = "GET", body: bytes = b"") -> bytes:
        """Make the request of a client with a presigned URL: return the object, or None after a PUT.

        Raises:
            services.errors.Denied: the URL has expired, or is for another method or bucket.
            services.errors.NotFound: no such object.
        """
        parts = urlsplit(url)
        terms = parse_qs(parts.query)
        if (parts.scheme, parts.netloc, terms.get("method")) != ("memory", self._bucket, [method]):
            raise Denied("visit: the URL is for something else")
        if self._clock() > float(terms["expires"][0]):
            raise Denied("visit: the URL has expired")
        key = unquote(parts.path.removeprefix("/"))
        if method == "PUT":
            await self.put(key, body)
            return b""
        await self._before("visit", key)
        return self._found("visit", key, "").body

    async def process(self, key: str, rules: Sequence[PictureRule]) -> Processed:
        """Let the injected processor write one new object a rule; see the port."""
        checks.check_rules(rules)
        checks.check_key(key)
        await self._before("process", key)
        content = self._found("process", key, "")
        if self._process is None:
            raise Permanent("this store has no picture service")
        original = self._process(content.body, _AS_IT_IS)
        pictures = [(rule.key, self._process(content.body, rule.rule)) for rule in rules]
        outputs = tuple(
            _picture_of(self._store(target, picture.body, f"image/{picture.format}", {}), picture, len(picture.body))
            for target, picture in pictures
        )
        await self._after("process", key)
        return Processed(_picture_of(content.info, original, 0), outputs)

    async def audit(self, keys: Sequence[str]) -> tuple[Audit, ...]:
        """Ask the injected audit; see the port."""
        safe = checks.check_audit(keys)
        found: dict[str, Result] = {}
        for key in safe:
            await self._before("audit", key)
            if key not in self._stored:
                raise AuditDown(f"audit {key!r}: no such object", key=key)
            found[key] = self._audit(key, self._stored[key].body) if self._audit else checks.CLEAN
            await self._after("audit", key)
        return tuple(Audit(key, found[key]) for key in safe)

    async def audit_text(self, text: str) -> Result:
        """Ask the injected audit of texts; see the port."""
        if not checks.check_text(text):
            return checks.CLEAN
        await self._before("audit_text", "")
        found = self._audit_text(text) if self._audit_text else checks.CLEAN
        await self._after("audit_text", "")
        return found

    async def video_info(self, key: str) -> VideoInfo:
        """Let the injected video service read a video; see the port."""
        checks.check_key(key)
        await self._before("video_info", key)
        found = self._video_service().info(self._found("video_info", key, "").body)
        await self._after("video_info", key)
        return found

    async def snapshot(self, key: str, target: str, *, at_s: float = 0.0) -> ObjectInfo:
        """Let the injected video service make a still; see the port."""
        checks.check_key(key)
        await self._before("snapshot", key)
        still = self._video_service().still(self._found("snapshot", key, "").body, at_s)
        await self._after("snapshot", key)
        return await self.put(target, still, content_type="image/jpeg")

    async def submit_video_audit(self, key: str) -> str:
        """Begin an audit of a video; see the port."""
        checks.check_key(key)
        await self._before("submit_video_audit", key)
        job = f"av{len(self._jobs) + 1}"
        self._jobs[job] = (key, self.audit_looks)
        await self._after("submit_video_audit", key)
        return job

    async def video_audit(self, job: str) -> Result | None:
        """Ask the injected audit, after as many looks as it takes; see the port."""
        key, looks = self._jobs.get(job, ("", 0))
        await self._before("video_audit", key)
        if key not in self._stored:
            raise AuditDown(f"video_audit of job {job!r}: no such job or object", key=key)
        self._jobs[job] = (key, looks - 1)
        found = self._audit(key, self._stored[key].body) if self._audit else checks.CLEAN
        await self._after("video_audit", key)
        return found if looks <= 0 else None

    async def submit_video_label(self, key: str, target: str, label: VideoLabel) -> str:
        """Let the injected video service draw words over a video; see the port. The result is stored at once."""
        checks.check_key(key)
        checks.check_key(target)
        await self._before("submit_video_label", key)
        job = f"j{len(self._label_jobs) + 1}"
        self._label_jobs[job] = self.audit_looks
        try:
            body = self._video_service().labelled(self._found("submit_video_label", key, "").body, label)
        except (BadVideo, NotFound):
            self._label_jobs[job] = _FAILED
        else:
            self._store(target, body, "video/mp4", {})
        await self._after("submit_video_label", key)
        return job

    async def video_label(self, job: str) -> bool:
        """Return True after as many looks as a job takes; see the port."""
        await self._before("video_label", job)
        looks = self._label_jobs.get(job, _FAILED)
        if looks == _FAILED:
            raise LabelDown(f"video_label of job {job!r}: it failed, or is unknown")
        self._label_jobs[job] = max(0, looks - 1)
        await self._after("video_label", job)
        return looks == 0

    def _video_service(self) -> VideoService:
        if self._videos is None:
            raise Permanent("this store has no video service")
        return self._videos

    async def versioned(self) -> bool:
        """Return True if the bucket keeps versions; see the port."""
        await self._before("versioned", "")
        return self._keeps_versions

    async def close(self) -> None:
        """Do nothing: the stored objects stay."""

    @asynccontextmanager
    async def _open(self, key: str, if_match: str) -> AsyncGenerator[Download, None]:
        await self._before("open", key)
        content = self._found("open", key, if_match)
        await self._after("open", key)
        rest = memoryview(content.body)

        async def read() -> bytes:
            nonlocal rest
            await self._before("read", key)
            piece, rest = bytes(rest[:PIECE]), rest[PIECE:]
            return piece

        yield Incoming(content.info, read)

    async def _before(self, operation: str, key: str) -> None:
        await asyncio.sleep(0)
        if self.faults is not None:
            await self.faults(operation, key, done=False)

    async def _after(self, operation: str, key: str) -> None:
        if self.faults is not None:
            await self.faults(operation, key, done=True)
        await asyncio.sleep(0)

    def _now(self) -> float:
        return float(int(self._clock()))

    def _found(self, operation: str, key: str, if_match: str) -> Content:
        content = self._stored.get(key)
        if content is None:
            raise NotFound(f"{operation} {key!r}: no such object")
        if if_match and if_match != content.info.etag:
            raise Changed(f"{operation} {key!r}: its ETag is not the one asked for")
        return Content(msgspec.structs.replace(content.info, date=self._now()), content.body)

    def _store(self, key: str, body: bytes, content_type: str, meta: Mapping[str, str]) -> ObjectInfo:
        now = self._now()
        info = ObjectInfo(
            key=key,
            etag=hashlib.md5(body, usedforsecurity=False).hexdigest(),
            size=len(body),
            modified=now,
            content_type=content_type or "application/octet-stream",
            meta=dict(meta),
            date=now,
        )
        self._stored[key] = Content(info, body)
        return info


async def _drained(key: str, source: Source) -> bytes:
    async with aclosing(checks.exact(key, source)) as pieces:
        return b"".join([piece async for piece in pieces])


def _picture_of(info: ObjectInfo, picture: ProcessedPicture, size: int) -> PictureInfo:
    return PictureInfo(
        key=info.key, etag=info.etag, format=picture.format, width=picture.width, height=picture.height, size=size
    )
