"""Download the files of the paid calls to staging, and continue where an earlier try left off.

A try that ends in an error writes `collected-{seq}`: the files that are staged already. A file is identified by the
digest of its URL's path, not by its number: at each look, vendors may sign new URLs and list files in another order.
Pictures are labelled as AI-made content here, after everything else that changes them and before their audit.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from messages.bodies import Job
from messages.codes import Code
from messages.errors import Permanent, RetryClass, ScfWorkersError
from messages.keys import staging_prefix
from recipes.recipe import FORMATS, Plan
from recipes.shared.picture_rules import arranged, last_pass, visible_label
from services.concurrency import Together
from services.errors import BadPicture, BadVideo, FetchFailed, FetchRefused, ResultUnusable
from services.fetch import Fetched
from services.media.ai_labels import RULE_FORMATS, AiLabel
from services.media.mp4_labels import LabelledVideo
from services.media.spool import Held, hold
from services.media.strip import Malformed, Truncated
from services.media.types import MOST_BYTES
from services.objects.port import ObjectInfo, PictureInfo, PictureRule, Source
from services.repeat import opened, repeated
from services.vendors.port import JobFile, JobStatus
from tasks.context import Services
from tasks.ledger.records import Collected, Product, StagedFile, StagedResult
from tasks.run import Task
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.points import reached
from telemetry.tracing import note, span

__all__ = ["Harvest", "Wanted", "wanted_of"]

_AT_ONCE: Final = 4
"""Downloads of one job at the same time."""

_DOWNLOAD_SHARE: Final = 2 / 3
"""Share of the stage's limit for one download."""

_STILL_AT_S: Final = 1.0
"""Time of a still in its video, in seconds: many videos begin with an empty frame."""

_RECORD_S: Final = 5.0
"""Seconds for recording the staged files when a try leaves off."""

T = TypeVar("T")

log = logs.get(__name__)


class Wanted(msgspec.Struct, frozen=True):
    """A file of a paid call that must be downloaded."""

    slot: int
    n: int
    """Number among the run's results, from 1."""
    file: JobFile
    digest: str
    """Its identity at the next look, see `StagedFile.digest`; `#` and its number without one."""


def wanted_of(found: Mapping[Job, JobStatus]) -> tuple[Wanted, ...]:
    """Return the files of successful calls, in the order of the slots and of the vendor."""
    files = [
        (job.slot, file, digest)
        for job, status in sorted(found.items(), key=lambda item: item[0].slot)
        for file, digest in zip(status.files, _digests(job, status.files), strict=True)
    ]
    return tuple(Wanted(slot, n, file, digest) for n, (slot, file, digest) in enumerate(files, 1))


class Harvest:
    """A try to stage the files of a run.

    Args:
        task: the task.
        seq: of the message: the number of this try.
        services: the bundle of services.
    """

    def __init__(self, task: Task, seq: int, services: Services) -> None:
        self._task = task
        self._seq = seq
        self._services = services
        self._plan = task.recipe.finish(task.params) if task.recipe.finish else Plan((), task.recipe.extension)
        self._staged: dict[str, StagedFile] = {}
        self._wanted: Sequence[Wanted] = ()

    async def bring(self, wanted: Sequence[Wanted], *, spare: int) -> dict[int, ScfWorkersError]:
        """Stage every file that is not staged yet.

        Args:
            wanted: the files.
            spare: slots that the run can do without.

        Returns:
            Slot -> an error of it, for those with a file that failed.

        Raises:
            messages.errors.ScfWorkersError: a permanent error, where every slot is needed.
        """
        self._wanted = wanted
        if self._seq:
            await self._take_over()
        folder = staging_prefix(self._task.run, self._services.ledger.nonce())
        gate = asyncio.Semaphore(_AT_ONCE)
        errors: dict[int, ScfWorkersError] = {}

        async def one(item: Wanted) -> None:
            async with gate:
                try:
                    self._staged[_key(item)] = await self._stage(item, folder)
                except ScfWorkersError as error:
                    final = error.retry in {RetryClass.PERMANENT, RetryClass.REJECTED}
                    if final and not spare:
                        raise
                    # The others go on: the files that they stage are kept. An outage counts before an error that spends
                    # an attempt.
                    if final or item.slot not in errors or error.retry is not RetryClass.TRANSIENT:
                        errors[item.slot] = error

        async with Together() as group:
            for item in wanted:
                if _key(item) not in self._staged:
                    group.create_task(one(item))
        return errors

    def results(self, slots: Collection[int]) -> tuple[StagedResult, ...]:
        """Return the staged files of some slots, in their order."""
        kept = [(item.slot, self._staged[_key(item)]) for item in self._wanted if item.slot in slots]
        return tuple(result for slot, file in kept for result in self._results(slot, file))

    def _results(self, slot: int, file: StagedFile) -> Iterator[StagedResult]:
        """Yield a staged file, and the still beside it."""
        yield StagedResult(file.key, file.etag, file.size, slot, self._plan.extension)
        if file.still is not None:
            yield StagedResult(file.still.key, file.still.etag, file.still.size, slot, file.still.extension, still=True)

    def forget(self, key: str) -> None:
        """Leave a staged file out, so that the next try fetches it again."""
        self._staged = {name: file for name, file in self._staged.items() if file.key != key}

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

    async def _stage(self, item: Wanted, folder: str) -> StagedFile:
        final, raw = f"{folder}{self._name(item.n)}", f"{folder}raw_{item.n:02d}"
        try:
            stored = await self._store(item.file, raw, final)
            still = await self._still(stored.key, item.n) if self._task.recipe.media == "video" else None
        except FetchRefused as error:
            # The vendor's fault: the user's picture was fine, and the catalogue's advice to mend it would mislead.
            raise Permanent(f"result {item.n} cannot be used: {error}", code=Code.VENDOR_FAILED) from error
        except BadPicture as error:
            if error.code is Code.PICTURE_TOO_LARGE:
                raise Permanent(f"result {item.n} cannot be used: {error}", code=Code.VENDOR_FAILED) from error
            raise ResultUnusable(f"result {item.n} is no picture: {error}") from error
        except BadVideo as error:
            raise ResultUnusable(f"result {item.n} is no video: {error}") from error
        reached("collect.staged")
        log.info(Event.RESULT_STORED, key=stored.key, size=stored.size)
        digest = "" if item.digest.startswith("#") else item.digest
        return StagedFile(stored.key, stored.etag, stored.size, digest, still)

    def _name(self, n: int) -> str:
        return self._task.recipe.result.format(n, self._plan.extension)

    async def _store(self, file: JobFile, raw: str, final: str) -> ObjectInfo:
        """Stage one file: unchanged if it is as sold, otherwise after the picture service's passes."""
        recipe = self._task.recipe
        total, media = recipe.collect_limit_s * _DOWNLOAD_SHARE, f"{recipe.media}/"
        wanted = FORMATS[recipe.media][self._plan.extension]
        own = self._label_of(final.rpartition("/")[2])
        # By its bytes: vendors' names for types have been wrong.
        with span(SpanName.DOWNLOAD, key=final):
            async with self._services.fetcher.open(
                file.url, types=(media,), max_bytes=recipe.most_bytes or MOST_BYTES[media], total=total
            ) as download:
                kind = download.content_type
                if kind != wanted and recipe.media != "image":
                    raise ResultUnusable(f"a {kind} where {wanted} is sold, and nothing here could convert it")
                if media == "video/" and download.size >= 0:
                    # Large, and nothing is removed: it is passed on as it arrives.
                    return await self._put(final, LabelledVideo(download, own) if own else download, kind)
                async with hold(download) as held:
                    is_clean = await _strip(held, download, own.packet if own else b"")
                    is_marked = bool(self._plan.passes) or (self._is_visible and recipe.media == "image")
                    is_as_sold = is_clean and kind == wanted and not is_marked
                    key = final if is_as_sold else raw
                    source = LabelledVideo(held, own) if own and media == "video/" else held
                    # Held in memory or a file, so it can be sent again.
                    stored = await self._repeated(lambda: self._put(key, source, kind))
                    label, short_side = held.label or (own.packet if own else b""), held.short_side
        if key == final:
            return stored
        by_rule = own is not None and label == own.packet and self._plan.extension in RULE_FORMATS
        made = await self._finish(self._plan, raw, final, short_side, own.rule if own and by_rule else "")
        return await self._label(made, label, wanted) if label and not by_rule else made

    @property
    def _is_visible(self) -> bool:
        labels = self._services.labels
        return labels is not None and labels.visible

    def _label_of(self, name: str) -> AiLabel | None:
        """Return the metadata label of a file: its number is that of the run and the file's name."""
        labels, run = self._services.labels, self._task.run
        if labels is None:
            return None
        return labels.of(f"{run.task}-{run.step}-{run.run}-{name}")

    async def _still(self, video: str, n: int) -> Product | None:
        """Check that a staged video can be played, and make the still beside it where the recipe has one."""
        info = await self._repeated(lambda: self._services.objects.video_info(video))
        if not self._task.recipe.still:
            return None
        own, plan = self._label_of(self._task.recipe.still.format(n, "jpg")), Plan((), "jpg")
        stem = video.rpartition(".")[0]
        target = f"{stem}_still.jpg"
        at_s = min(_STILL_AT_S, info.seconds / 2)
        first = f"{stem}_frame.jpg" if own else target
        with span(SpanName.PROCESS, key=first):
            made = await self._repeated(lambda: self._services.objects.snapshot(video, first, at_s=at_s))
        if own:
            made = await self._finish(plan, first, target, min(info.width, info.height), own.rule)
        return Product(made.key, made.etag, made.size, "jpg")

    async def _put(self, key: str, source: Source, content_type: str) -> ObjectInfo:
        stored = await self._services.objects.put(key, source, content_type=content_type)
        note(size=stored.size)
        return stored

    async def _finish(self, plan: Plan, raw: str, final: str, short_side: int, metadata: str) -> ObjectInfo:
        """Apply the passes of a plan, label the picture, and convert it to the format.

        Args:
            plan: of the picture.
            raw: key of the vendor's file.
            final: key of the result.
            short_side: of the vendor's file, in pixels; 0 where it is not known.
            metadata: step that writes the metadata label; empty for none.
        """
        before, last = arranged(plan.passes)
        source, stem = raw, final.rpartition(".")[0]
        for n, rule in enumerate(before, 1):
            made = await self._pass(source, PictureRule(f"{stem}_pass{n}.png", rule))
            source, short_side = made.key, _short_side(made)

        async def finish(short_side: int) -> PictureInfo:
            label = visible_label(short_side, plan.label) if self._is_visible else ""
            rule = last_pass(last, label=label, extension=plan.extension, quality=plan.quality, metadata=metadata)
            return await self._pass(source, PictureRule(final, rule))

        made = await finish(short_side)
        if self._is_visible and _short_side(made) != short_side:
            # The letters must fit the size of the finished picture.
            made = await finish(_short_side(made))
        return ObjectInfo(made.key, made.etag, made.size, 0.0)

    async def _pass(self, source: str, rule: PictureRule) -> PictureInfo:
        with span(SpanName.PROCESS, key=rule.key):
            return (await self._repeated(lambda: self._services.objects.process(source, [rule]))).outputs[0]

    async def _label(self, made: ObjectInfo, label: bytes, content_type: str) -> ObjectInfo:
        """Write labels of AI-made content that the picture service cannot write, or has removed: the vendor's own."""
        open_made = partial(self._services.objects.open, made.key, if_match=made.etag)
        async with opened(open_made, self._services.rng) as download, hold(download) as held:
            try:
                await held.strip_as(content_type, label)
            except Malformed as error:
                raise ResultUnusable(f"the picture service's {content_type} cannot be labelled: {error}") from error
            return await self._repeated(lambda: self._put(made.key, held, content_type))

    async def _repeated(self, request: Callable[[], Awaitable[T]]) -> T:
        return await repeated(request, self._services.rng)


def _short_side(made: PictureInfo) -> int:
    return min(made.width, made.height)


async def _strip(held: Held, download: Fetched, label: bytes) -> bool:
    """Remove metadata and trailers, and add a label of AI-made content where the file has none of the sort.

    False if the picture service must do it, because we cannot read the format.

    Raises:
        services.errors.FetchFailed: it was cut short, and its server had not said how long it is.
    """
    try:
        await held.strip_as(download.content_type, label)
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


def _key(item: Wanted) -> str:
    return f"{item.slot} {item.digest}" if item.digest.startswith("#") else item.digest
