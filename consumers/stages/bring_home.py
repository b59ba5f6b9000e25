"""Download the files of a paid job to staging, and continue where an earlier try left off.

A try that ends in an error writes `collected-{seq}`: the files that are staged already. A file is identified by the
digest of its URL's path, not by its number: at each look, vendors may sign new URLs and list files in another order.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit

from messages.bodies import Job
from messages.codes import Code
from messages.errors import Permanent, RetryClass, ScfWorkersError
from messages.keys import output_key, staging_prefix
from services.concurrency import Together
from services.errors import BadPicture, FetchFailed, FetchRefused, NotFound, ResultUnusable
from services.fetch import Fetched
from services.media.spool import Held, hold
from services.media.strip import Malformed, Truncated
from services.media.types import MOST_BYTES
from services.objects.port import ObjectInfo, PictureRule, Source
from services.repeat import opened, repeated
from services.vendors.port import JobFile
from tasks.context import Services
from tasks.ledger.records import Collected, ManifestItem, StagedFile
from tasks.run import Task
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.points import reached
from telemetry.tracing import note, span

__all__ = ["Harvest"]

_AT_ONCE: Final = 4
"""Downloads of one job at the same time."""

_DOWNLOAD_SHARE: Final = 2 / 3
"""Share of the stage's limit for one download."""

_RECORD_S: Final = 5.0
"""Seconds for recording the staged files when a try leaves off."""

T = TypeVar("T")

log = logs.get(__name__)


class Harvest:
    """A try to bring the files of a job to staging.

    Args:
        task: the task.
        job: its job.
        seq: of the message: the number of this try.
        services: the bundle of services.
    """

    def __init__(self, task: Task, job: Job, seq: int, services: Services) -> None:
        self._task = task
        self._job = job
        self._seq = seq
        self._services = services
        self._staged: dict[str, StagedFile] = {}

    async def bring(self, files: tuple[JobFile, ...]) -> tuple[ManifestItem, ...]:
        """Stage every file that is not staged yet.

        Raises:
            messages.errors.ScfWorkersError: the decisive error of the files that failed: a permanent one, else an
                outage, else one that spends an attempt.
        """
        digests = _digests(self._job, files)
        if self._seq:
            await self._take_over()
        folder = staging_prefix(self._task.run, self._services.ledger.nonce())
        gate = asyncio.Semaphore(_AT_ONCE)
        errors: list[ScfWorkersError] = []

        async def one(n: int, file: JobFile, digest: str) -> None:
            async with gate:
                try:
                    self._staged[digest] = await self._stage(n, file, digest, folder)
                except ScfWorkersError as error:
                    if error.retry in {RetryClass.PERMANENT, RetryClass.REJECTED}:
                        raise
                    # The others go on: what they bring home stays there.
                    errors.append(error)

        async with Together() as group:
            for n, (file, digest) in enumerate(zip(files, digests, strict=True), 1):
                if digest not in self._staged:
                    group.create_task(one(n, file, digest))
        if errors:
            raise next((error for error in errors if error.retry is not RetryClass.TRANSIENT), errors[0])
        return tuple(self._item(n, self._staged[digest]) for n, digest in enumerate(digests, 1))

    async def examine(self, key: str) -> None:
        """Check whether a staged file is a picture, because the audit has no finding for it.

        Raises:
            services.errors.ResultUnusable: it is not; the next try fetches it again.
        """
        folder, _, name = key.rpartition("/")
        rule = PictureRule(f"{folder}/check_{name}", "imageMogr2/thumbnail/64x64>/format/jpg")
        try:
            await self._repeated(lambda: self._services.objects.process(key, [rule]))
        except (BadPicture, NotFound) as error:
            self._staged = {digest: file for digest, file in self._staged.items() if file.key != key}
            raise ResultUnusable(f"{name} cannot be audited, and is not a picture: {error}") from error

    async def leave_off(self) -> None:
        """Record the staged files for the next try, which otherwise begins from the start."""
        files = tuple(file for file in self._staged.values() if file.digest)
        if not files:
            return
        record = Collected(files)
        try:
            async with asyncio.timeout(_RECORD_S):
                await self._services.ledger.write(self._task.run, Collected.at(self._seq), record)
        except (ScfWorkersError, TimeoutError) as error:
            log.warning(Event.LEDGER_WRITE_FAILED, error=error)

    async def _take_over(self) -> None:
        """Find the files that earlier tries have staged. If that cannot be read, this try begins from the start."""
        with suppress(ScfWorkersError):
            found = await self._services.ledger.newest_collected(self._task.run)
            if found is not None:
                self._staged = {file.digest: file for file in found.files}

    async def _stage(self, n: int, file: JobFile, digest: str, folder: str) -> StagedFile:
        sold = self._task.recipe.extension
        final, raw = folder + self._name(n), f"{folder}raw_{n:02d}"
        try:
            stored = await self._store(file, raw, final, sold)
        except FetchRefused as error:
            # The vendor's fault: the user's picture was fine, and the catalogue's advice to mend it would mislead.
            raise Permanent(f"result {n} cannot be used: {error}", code=Code.VENDOR_FAILED) from error
        except BadPicture as error:
            if error.code is Code.PICTURE_TOO_LARGE:
                raise Permanent(f"result {n} cannot be used: {error}", code=Code.VENDOR_FAILED) from error
            raise ResultUnusable(f"result {n} is no picture: {error}") from error
        reached("collect.staged")
        log.info(Event.RESULT_STORED, key=stored.key, size=stored.size)
        return StagedFile(stored.key, stored.etag, stored.size, "" if digest.startswith("#") else digest)

    def _name(self, n: int) -> str:
        return self._task.recipe.result.format(n, self._task.recipe.extension)

    def _item(self, n: int, file: StagedFile) -> ManifestItem:
        return ManifestItem(file.key, output_key(self._task.run, self._name(n)), file.etag, file.size)

    async def _store(self, file: JobFile, raw: str, final: str, sold: str) -> ObjectInfo:
        """Bring one file to staging: unchanged if it is in the sold format, else converted."""
        recipe = self._task.recipe
        total, wanted, media = recipe.collect_limit_s * _DOWNLOAD_SHARE, recipe.content_type, f"{recipe.media}/"
        # By its bytes: vendors' names for types have been wrong.
        with span(SpanName.DOWNLOAD, key=final):
            async with self._services.fetcher.open(
                file.url, types=(media,), max_bytes=MOST_BYTES[media], total=total
            ) as download:
                kind = download.content_type
                if kind != wanted and recipe.media != "image":
                    raise ResultUnusable(f"a {kind} where {wanted} is sold, and nothing here could convert it")
                if media == "video/" and download.size >= 0:
                    # Large, and nothing is taken off: it flows on as it comes.
                    return await self._put(final, download, kind)
                async with hold(download) as held:
                    is_clean = await _strip(held, download)
                    key = final if is_clean and kind == wanted else raw
                    # Held, so it can be sent again.
                    stored = await self._repeated(lambda: self._put(key, held, kind))
                    label = held.label
        if key == final:
            return stored
        made = await self._convert(raw, final, sold)
        return await self._label(made, label, wanted) if label else made

    async def _put(self, key: str, source: Source, content_type: str) -> ObjectInfo:
        stored = await self._services.objects.put(key, source, content_type=content_type)
        note(size=stored.size)
        return stored

    async def _convert(self, raw: str, final: str, sold: str) -> ObjectInfo:
        rule = PictureRule(final, f"imageMogr2/format/{sold}/quality/95/strip")
        with span(SpanName.PROCESS, key=final):
            made = (await self._repeated(lambda: self._services.objects.process(raw, [rule]))).outputs[0]
        return ObjectInfo(made.key, made.etag, made.size, 0.0)

    async def _label(self, made: ObjectInfo, label: bytes, content_type: str) -> ObjectInfo:
        """Restore the label of AI-made content, which the picture service removes with all other metadata."""
        open_made = partial(self._services.objects.open, made.key, if_match=made.etag)
        async with opened(open_made, self._services.rng) as download, hold(download) as held:
            with suppress(Malformed):
                await held.strip_as(content_type, label)
            return await self._repeated(lambda: self._put(made.key, held, content_type))

    async def _repeated(self, request: Callable[[], Awaitable[T]]) -> T:
        return await repeated(request, self._services.rng)


async def _strip(held: Held, download: Fetched) -> bool:
    """Remove metadata and trailers; False if the picture service must do it, because we cannot read the format.

    Raises:
        services.errors.FetchFailed: it was cut short, and its server had not said how long it is.
    """
    try:
        await held.strip_as(download.content_type)
    except Truncated as error:
        if not download.framed:
            raise FetchFailed(f"a download without a length broke off: {error}") from None
        return False
    except Malformed:
        return False
    return True


def _digests(job: Job, files: tuple[JobFile, ...]) -> list[str]:
    """Return the identity of each file at the next look; `#` and its number where two files share a path."""
    paths = [_path_of(file.url) for file in files]
    often: Mapping[str, int] = Counter(paths)
    return [
        hashlib.sha256(f"{job.slot} {job.n} {path}".encode(errors="replace")).hexdigest()[:32]
        if often[path] == 1
        else f"#{n}"
        for n, path in enumerate(paths)
    ]


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""
