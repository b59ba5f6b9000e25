"""Visible labels of videos that AI made: drawn over their first seconds by a job of the media service.

The jobs are recorded, so that every later message looks at the same ones. Where a crash came before the record, the
file that the job writes is looked for, whose key follows from that of the video; if it is not there yet, one more job
makes the same, at the cost of an encoding and of no vendor's call. The service may drop the metadata when it encodes,
so the metadata label of the staged video is written into what it made while that is copied. A job that fails is
replaced by a new one, the first at once and each further one after twice as long; only a video that cannot be played to
its end gets none.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from messages.errors import Outage
from messages.keys import RunId
from recipes.shared.picture_rules import VISIBLE_LABEL, label_letters
from services.errors import BadVideo, LabelDown, NotFound
from services.media.ai_labels import AiLabels
from services.media.mp4_labels import LabelledVideo, label_in
from services.objects.port import MOST_LETTERS, Download, VideoLabel
from services.repeat import opened, repeated
from tasks.context import Services
from tasks.ledger.records import Product, VideoLabels
from tasks.video_audits import fault_of, replaced_at
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.tracing import note, span

__all__ = ["LABEL_S", "label_videos"]

LABEL_S: Final = 3.0
"""Seconds from the beginning of a video in which the label is seen: GB 45438-2025 demands two."""

_MP4: Final = "video/mp4"

log = logs.get(__name__)


class _Copied:
    """A stored video on its way to another key. Implements `services.media.mp4_labels.Video`."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self.size: Final = download.info.size

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._download)


async def label_videos(
    run: RunId, keys: Sequence[str], labels: AiLabels, services: Services
) -> Mapping[str, Product | BadVideo] | None:
    """Look once at the labels of videos; the first time, begin to write them.

    Args:
        run: the run.
        keys: the staged videos.
        labels: maker of the metadata labels.
        services: the bundle of services.

    Returns:
        Key -> the file with the label, or why the video cannot be played; None while one of them is at work.

    Raises:
        messages.errors.Outage: the store is down, or (`services.errors.LabelDown`) a video could not be submitted, or
            its job failed and is not replaced yet.
    """
    known, n, again_at = await _newest(run, services)
    may_submit = services.ledger.now() >= again_at
    done: dict[str, Product] = {key: known.done[key] for key in keys if key in known.done}
    lost: dict[str, BadVideo] = {}
    jobs: dict[str, str] = {}
    late: Outage | None = None
    for key in (key for key in keys if key not in done):
        try:
            job = known.jobs.get(key, "")
            found: Product | BadVideo | str = await _look(run, key, job, labels, services, may_submit=may_submit)
        except BadVideo as error:
            found = error
        except Outage as error:
            # The others go on, and their jobs are recorded.
            late = late or error
            if key in known.jobs:
                jobs[key] = known.jobs[key]
            continue
        match found:
            case Product():
                done[key] = found
            case BadVideo():
                lost[key] = found
            case _:
                jobs[key] = found
    if (done, jobs) != (dict(known.done), dict(known.jobs)):
        # Another process may have labelled the same video: the record that stands says which file is shown.
        stored = await services.ledger.write(run, VideoLabels.at(n), VideoLabels(jobs, done))
        done, jobs = dict(stored.record.done), dict(stored.record.jobs)
    if late:
        raise late
    ended: dict[str, Product | BadVideo] = {**lost, **{key: done[key] for key in keys if key in done}}
    return ended if len(ended) == len(keys) else None


async def _newest(run: RunId, services: Services) -> tuple[VideoLabels, int, float]:
    """Return the newest record, empty before the first, the next one's number, and when a failed job is replaced."""
    found, n, again_at = VideoLabels({}), 0, 0.0
    while (stored := await services.ledger.read(run, VideoLabels.at(n))) is not None:
        found, n = stored.record, n + 1
        again_at = replaced_at(stored.at, n)
    return found, n, again_at


async def _look(
    run: RunId, key: str, job: str, labels: AiLabels, services: Services, *, may_submit: bool
) -> Product | BadVideo | str:
    """Return the labelled file of a video, why it has none, or the id of the job that is at work on it.

    Raises:
        services.errors.LabelDown: the job failed, and no other may be submitted yet.
    """
    drawn = f"{key.rpartition('.')[0]}_drawn.mp4"
    objects, rng = services.objects, services.rng
    try:
        if job and not await repeated(lambda: objects.video_label(job), rng):
            return job
    except LabelDown as down:
        if not may_submit:
            raise
        log.warning(Event.LABEL_LATE, error=down)
        if fault := await fault_of(key, services):
            return fault
    else:
        with suppress(NotFound):
            return await _with_metadata(run, key, drawn, labels, services)
        if job and not may_submit:
            raise LabelDown(f"the job that draws a label over {key} ended without a file")
    info = await repeated(lambda: objects.video_info(key), rng)
    letters = min(MOST_LETTERS, label_letters(min(info.width, info.height)))
    label = VideoLabel(VISIBLE_LABEL, letters, _label_time(info.seconds))
    with span(SpanName.PROCESS, key=drawn):
        return await repeated(lambda: objects.submit_video_label(key, drawn, label), rng)


def _label_time(seconds: float) -> float:
    """Return the seconds of the label over a video of a length, 0 for an unknown one.

    It must not end after the video, and its end is accurate to the millisecond (CI, "Creating watermark template").
    """
    return min(LABEL_S, math.floor(seconds * 1000) / 1000) or LABEL_S


async def _with_metadata(run: RunId, key: str, drawn: str, labels: AiLabels, services: Services) -> Product:
    """Copy what the service made, with the metadata label of the staged video.

    Raises:
        services.errors.NotFound: it has made nothing yet.
    """
    objects, rng = services.objects, services.rng
    await repeated(lambda: objects.head(drawn), rng)
    folder, _, name = key.rpartition("/")
    stem = name.rpartition(".")[0]
    target = f"{folder}/{stem}_labelled_{services.ledger.nonce()}.mp4"
    own = msgspec.json.encode(labels.of(f"{run.task}-{run.step}-{run.run}-{name}"))
    with span(SpanName.PROCESS, key=target):
        async with opened(partial(objects.open, key), rng) as staged:
            label = await label_in(staged) or own
        async with opened(partial(objects.open, drawn), rng) as made:
            stored = await objects.put(target, LabelledVideo(_Copied(made), label), content_type=_MP4)
        note(size=stored.size)
    return Product(stored.key, stored.etag, stored.size, "mp4")
