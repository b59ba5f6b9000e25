"""The object-store port: the operations of COS and its picture and video service CI that the product needs.

An `Objects` is one bucket. Keys have no leading slash. ETags are the bare hex digits, without quotes.
Every answer carries the store's own time, because the rules of the ledger use it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import msgspec

__all__ = [
    "MOST_LETTERS",
    "Audit",
    "Content",
    "Download",
    "ObjectInfo",
    "Objects",
    "Page",
    "PictureInfo",
    "PictureRule",
    "Processed",
    "Result",
    "Source",
    "VideoInfo",
    "VideoLabel",
]

MOST_LETTERS: Final = 100
"""Pixels of a letter over a video, at most (CI, "Creating watermark template", 436/84985: FontSize from 5 to 100)."""


class ObjectInfo(msgspec.Struct, frozen=True):
    """Size, time and metadata of an object."""

    key: str
    etag: str
    size: int
    modified: float
    """Last-Modified, seconds since the epoch, by the store's clock."""
    content_type: str = ""
    meta: Mapping[str, str] = {}
    """User metadata: lower-case names without the `x-cos-meta-` prefix."""
    date: float = 0.0
    """Time of the answer by the store's clock (Date), seconds since the epoch."""


class Content(msgspec.Struct, frozen=True):
    """A whole object in memory: for small ones, such as records."""

    info: ObjectInfo
    body: bytes


class Page(msgspec.Struct, frozen=True):
    """A page of a listing, in key order. A listing is a hint: only a GET is reliable."""

    items: tuple[ObjectInfo, ...]
    next_after: str = ""
    """Pass as `after` for the next page; empty on the last one."""
    date: float = 0.0
    """Time of the answer by the store's clock (Date), seconds since the epoch."""


class PictureInfo(msgspec.Struct, frozen=True):
    """A picture as the picture service sees it."""

    key: str
    etag: str
    format: str
    """Lower case: jpeg, png, webp, …"""
    width: int
    height: int
    size: int = 0
    """Bytes; 0 for the original, whose size the service does not return."""


class PictureRule(msgspec.Struct, frozen=True):
    """A persistent operation: `rule` in the picture service's language, stored under `key`."""

    key: str
    rule: str


class Processed(msgspec.Struct, frozen=True):
    """Result of a persistent operation: the original, and the new objects in the order of the rules."""

    original: PictureInfo
    outputs: tuple[PictureInfo, ...]


class Result(msgspec.Struct, frozen=True):
    """An audit's finding."""

    violation: bool
    suspect: bool
    label: str
    score: int


class Audit(msgspec.Struct, frozen=True):
    """The audit of one object."""

    key: str
    result: Result


class VideoInfo(msgspec.Struct, frozen=True):
    """A video as the service sees it."""

    codec: str
    """Lower case: h264, hevc, …"""
    width: int
    height: int
    seconds: float


class VideoLabel(msgspec.Struct, frozen=True):
    """Words in the upper left corner of a video's beginning."""

    text: str
    letters: int
    """Their size in pixels, from 5 to `MOST_LETTERS`."""
    seconds: float
    """Time from the beginning in which they are seen."""


class Source(Protocol):
    """A body of known size that is read once, piece by piece."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces."""
        ...


class Download(Protocol):
    """An object being read."""

    @property
    def info(self) -> ObjectInfo:
        """The object."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces, at most 1 MiB each."""
        ...


class Objects(Protocol):
    """A bucket.

    Every method may raise `services.errors.ObjectsDown` (no answer, or 5xx: a write may or may not be stored) and its
    `services.errors.Denied`. Nothing is retried here: only the caller knows whether a repeat is harmless.
    """

    async def put(
        self, key: str, body: bytes | Source, *, content_type: str = "", meta: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Store an object; replace an existing one. A `Source` streams with flat memory.

        Raises:
            messages.errors.Transient: the source ended before its size, or raised; nothing was stored.
        """
        ...

    async def put_new(self, key: str, body: bytes, *, content_type: str = "") -> ObjectInfo:
        """Store an object only if none is there (`x-cos-forbid-overwrite: true`).

        Raises:
            services.errors.Exists: an object is stored already, perhaps by an earlier try of this call.
        """
        ...

    async def get(self, key: str, *, if_match: str = "", limit: int = 1 << 20) -> Content:
        """Return a whole small object.

        Raises:
            services.errors.NotFound: no such object.
            services.errors.Changed: its ETag is not `if_match`.
            messages.errors.Permanent: it is larger than `limit` bytes.
        """
        ...

    def open(self, key: str, *, if_match: str = "") -> AbstractAsyncContextManager[Download]:
        """Read a large object piece by piece. Raises as `get`."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Return the object's size, time and metadata.

        Raises:
            services.errors.NotFound: no such object.
        """
        ...

    async def copy(self, source: str, target: str, *, if_match: str = "") -> ObjectInfo:
        """Copy inside the bucket, on the server's side; the answer's size is 0 where the store does not return it.

        Raises:
            services.errors.NotFound: no such source.
            services.errors.Changed: the source's ETag is not `if_match`.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete any number of objects; a missing one is no error."""
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Page:
        """Return one page of the objects whose key begins with `prefix`, after the key `after`."""
        ...

    async def presign(self, key: str, *, expires: int, method: str = "GET") -> str:
        """Return a presigned URL that is valid for `expires` seconds (less if the STS token ends sooner)."""
        ...

    async def process(self, key: str, rules: Sequence[PictureRule]) -> Processed:
        """Let the picture service read `key` and store one new object a rule; pixels never come here. At most 5 rules.

        Raises:
            services.errors.NotFound: no such object.
            services.errors.BadPicture: not a picture, or beyond the service's limits.
            messages.errors.Permanent: a rule the service does not know.
        """
        ...

    async def audit(self, keys: Sequence[str]) -> tuple[Audit, ...]:
        """Ask the content audit about stored pictures, in one batch of at most 100, answered in the order of `keys`.

        Raises:
            services.errors.AuditDown: the audit of an element failed, or it refuses the call.
        """
        ...

    async def audit_text(self, text: str) -> Result:
        """Ask the content audit about a text of at most 10,000 characters; an empty one is clean.

        Raises:
            ValueError: it is longer.
            services.errors.AuditDown: the audit gave no finding.
        """
        ...

    async def video_info(self, key: str) -> VideoInfo:
        """Let the service read a stored video's head.

        Raises:
            services.errors.NotFound: no such object.
            services.errors.BadVideo: it has no video stream that the service can read.
        """
        ...

    async def snapshot(self, key: str, target: str, *, at_s: float = 0.0) -> ObjectInfo:
        """Store a still of a stored video as a jpg.

        The still itself passes through this process: the service returns it in its answer.

        Args:
            key: the video.
            target: key of the still.
            at_s: its time, in seconds from the beginning.

        Raises:
            services.errors.NotFound: no such object.
            services.errors.BadVideo: the service can read no frame of it.
        """
        ...

    async def submit_video_audit(self, key: str) -> str:
        """Submit a stored video to the content audit, which takes seconds to minutes; return the id of the job.

        Asked twice, it makes two jobs, which does no harm but is paid twice.

        Raises:
            services.errors.AuditDown: there is no job.
        """
        ...

    async def video_audit(self, job: str) -> Result | None:
        """Return the finding of an audit of a video; None while it is at work.

        Raises:
            services.errors.AuditDown: the job failed, or is unknown: it will give no finding.
        """
        ...

    async def submit_video_label(self, key: str, target: str, label: VideoLabel) -> str:
        """Submit a job that draws words over a stored video, which takes seconds to minutes; return the id of the job.

        The result is an H.264 mp4 with the video's sound, of the same size; its metadata may be lost. Asked twice, it
        makes two jobs that store the same, which is paid twice.

        Args:
            key: the video.
            target: key of the result.
            label: the words.

        Raises:
            services.errors.LabelDown: the service did not take the job.
        """
        ...

    async def video_label(self, job: str) -> bool:
        """Return True if the job has stored its result; False while it is at work.

        Raises:
            services.errors.LabelDown: the job failed, or is unknown: it will store nothing.
        """
        ...

    async def versioned(self) -> bool:
        """Return True if the bucket keeps or ever kept versions: a ledger must never lie in such a bucket."""
        ...

    async def close(self) -> None:
        """Drop connections and threads."""
        ...
