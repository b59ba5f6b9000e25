"""Inputs given as URLs: the first stage fetches them into `source/`, where no trigger listens.

The URL comes from a user, so its host is not ours: a failure never pauses the topic, and after a few tries the input
counts as unavailable, which ends the task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from messages.codes import Code
from messages.errors import Rejected, Transient
from recipes.recipe import Recipe
from services.errors import FetchFailed, FetchRefused, ResultUnusable
from services.media.spool import hold
from services.repeat import repeated
from tasks.accepting.inputs import MAX_PICTURE_BYTES, VIDEO_TYPES, source_key, unsupported_format
from tasks.context import Services
from tasks.ledger.records import FetchedInputs, InputRef
from tasks.run import Task
from telemetry.instruments import SpanName
from telemetry.tracing import note, span

__all__ = ["TRIES", "inputs_of"]

TRIES: Final = 3
"""Tries of a URL before its input counts as unavailable."""

_AT_ONCE: Final = 4
"""Downloads of one task at the same time."""

_TOTAL_S: Final = 30.0
"""Seconds for one download."""

_VIDEO_TOTAL_S: Final = 150.0
"""The same where it may be a video."""

_EXTENSIONS: Final = {"image/jpeg": "jpg", "video/quicktime": "mov"}
"""Content type -> extension, where the subtype is not the extension."""


async def inputs_of(task: Task, attempt: int, services: Services) -> tuple[InputRef, ...]:
    """Return the inputs of a task, after storing those that were given as URLs.

    Args:
        task: the task.
        attempt: of the message.
        services: the bundle of services.

    Raises:
        messages.errors.Rejected: an input must not be fetched, is no picture, or cannot be fetched.
        messages.errors.Transient: an input cannot be fetched now.
    """
    inputs = task.accepted.inputs
    if not any(source.url for source in inputs):
        return inputs
    async for earlier in _earlier(task, services):
        return earlier.inputs
    folder = f"{source_key(task.run).folder}{services.ledger.nonce()}/"
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(n: int, source: InputRef) -> InputRef:
        async with gate:
            if not source.url:
                return source
            stem, videos = f"{folder}input_{n:02d}", task.recipe.takes_video(n - 1)
            try:
                return await _fetch(source, stem, task.recipe, services, videos=videos)
            except FetchRefused as refused:
                if videos and refused.code is Code.PICTURE_TOO_LARGE:
                    raise Rejected(f"the input is too large: {refused}", code=Code.VIDEO_TOO_LARGE) from refused
                raise

    # Each to its end, also if another fails: nothing may be written after this message has ended.
    done = await asyncio.gather(*(one(n, source) for n, source in enumerate(inputs, 1)), return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise _as_of_this_task(result, attempt)
    stored = FetchedInputs(tuple(result for result in done if isinstance(result, InputRef)))
    return (await services.ledger.write(task.run, FetchedInputs.at(), stored)).record.inputs


async def _earlier(task: Task, services: Services) -> AsyncIterator[FetchedInputs]:
    """Yield the inputs that this run, or an earlier one of the same task, has stored: a URL may have expired since."""
    for number in range(task.run.run, -1, -1):
        run = msgspec.structs.replace(task.run, run=number)
        if found := await services.ledger.read(run, FetchedInputs.at()):
            yield found.record


async def _fetch(source: InputRef, stem: str, recipe: Recipe, services: Services, *, videos: bool) -> InputRef:
    """Store an input under its media's extension.

    Args:
        source: the input.
        stem: key without the extension.
        recipe: of the task.
        services: the bundle of services.
        videos: whether it may be a video.
    """
    with span(SpanName.DOWNLOAD, key=stem):
        async with services.fetcher.open(
            source.url,
            max_bytes=max(MAX_PICTURE_BYTES, recipe.most_video_bytes) if videos else MAX_PICTURE_BYTES,
            types=("image/", *VIDEO_TYPES) if videos else ("image/",),
            total=_VIDEO_TOTAL_S if videos else _TOTAL_S,
            rules=services.policy.sources,
        ) as download:
            kind = download.content_type
            key = f"{stem}.{_EXTENSIONS.get(kind, kind.partition('/')[2])}"
            if code := unsupported_format(key, videos=videos):
                raise Rejected(f"the input is {kind}", code=code)
            if kind in VIDEO_TYPES and download.size >= 0:
                # Large, and nothing is removed: it is passed on as it arrives.
                stored = await services.objects.put(key, download, content_type=kind)
                note(size=stored.size)
                return InputRef(key, stored.etag, download.size)
            async with hold(download) as held:
                if kind not in VIDEO_TYPES and held.size > MAX_PICTURE_BYTES:
                    raise Rejected(f"the input has {held.size} bytes", code=Code.PICTURE_TOO_LARGE)
                stored = await repeated(lambda: services.objects.put(key, held, content_type=kind), services.rng)
                note(size=stored.size)
                return InputRef(key, stored.etag, held.size)


def _as_of_this_task(error: BaseException, attempt: int) -> BaseException:
    """Return an error of a URL as this task's own; any other error as it is."""
    match error:
        case FetchRefused():
            code = Code.PICTURE_TOO_LARGE if error.code is Code.PICTURE_TOO_LARGE else Code.INPUT_UNAVAILABLE
            return Rejected(f"the input must not be fetched: {error}", code=code)
        case FetchFailed() | ResultUnusable() if attempt + 1 >= TRIES:
            return Rejected(f"the input cannot be fetched: {error}", code=Code.INPUT_UNAVAILABLE)
        case FetchFailed() | ResultUnusable():
            return Transient(f"the input cannot be fetched now: {error}")
        case _:
            return error
