"""Checks of the two buckets: rights, picture service, audit, create-only writes, clock."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from messages.errors import ScfWorkersError
from services.checks import Check
from services.concurrency import Together
from services.errors import CheckFailed, Exists
from services.media.ai_labels import AiLabels
from services.media.labels import aigc_of
from services.objects.port import Objects, PictureRule

__all__ = ["MAX_CLOCK_DIFFERENCE", "RACERS", "data_checks", "label_checks", "ledger_checks", "tidied", "winners"]

MAX_CLOCK_DIFFERENCE: Final = 5.0
"""Seconds that this machine's clock may differ from the store's."""

RACERS: Final = 50
"""Create-only writes at once, of which exactly one must win."""

_PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR42mNsaGhgIAUwMZAIRjWMahg6GgDJTAGg54KQ4AAAAABJRU5ErkJggg=="
)
"""Return a small grey picture for the picture service."""


def data_checks(
    objects: Objects, *, credentials: str, nonce: Callable[[], str], clock: Callable[[], float]
) -> Sequence[Check]:
    """Return the checks of the bucket of inputs and results.

    Args:
        objects: the bucket.
        credentials: the variables that lead to it and open it, for remedies.
        nonce: makes a new text, for keys that no other process uses.
        clock: this machine's clock, seconds since the epoch.
    """

    def stem() -> str:
        return f"staging/doctor/{nonce()}"

    return (
        Check(
            "data bucket",
            lambda: _data(objects, stem()),
            f"COS_BUCKET, TENCENTCLOUD_REGION, {credentials}: read, write, copy and delete must be allowed; the clock"
            " right",
        ),
        Check(
            "picture service",
            lambda: _pictures(objects, stem()),
            "bind COS_BUCKET to Cloud Infinite, and allow the key to use it",
            needs="data bucket",
        ),
        Check(
            "audit",
            lambda: _audit(objects, stem()),
            "turn the audit of pictures and of texts on for COS_BUCKET; COS_AUDIT_BIZ_TYPE and COS_AUDIT_TEXT_BIZ_TYPE"
            " must be policies of theirs",
            needs="picture service",
        ),
        Check(
            "clock",
            lambda: _clock(objects, stem(), clock),
            "set this machine's clock; signatures and due times rest on it",
            needs="data bucket",
        ),
    )


def label_checks(objects: Objects, labels: AiLabels, *, nonce: Callable[[], str]) -> Sequence[Check]:
    """Return the check of the labels of AI-made content; arguments as for `data_checks`."""
    return (
        Check(
            "AI labels",
            lambda: _label(objects, labels, nonce()),
            "the picture service of COS_BUCKET must know the rule imageMogr2/AIGCMetadata: docs/ai-labels.md",
            needs="picture service",
        ),
    )


def ledger_checks(objects: Objects, *, credentials: str, nonce: Callable[[], str]) -> Sequence[Check]:
    """Return the checks of the bucket of the ledger; arguments as for `data_checks`."""
    return (
        Check(
            "ledger: versioning",
            partial(_versioning, objects),
            "LEDGER_BUCKET must be a bucket on which versioning was never turned on;"
            f" {credentials}: asking must be allowed",
        ),
        Check(
            "ledger: create-only",
            lambda: _create_only(objects, f"doctor/{nonce()}"),
            f"LEDGER_BUCKET, {credentials}: writes with x-cos-forbid-overwrite must be allowed",
        ),
    )


async def winners(objects: Objects, key: str, writers: int) -> int:
    """Start many create-only writes of one key at once, and return how many succeed: exactly one must.

    The object is deleted afterwards if this process may delete.

    Args:
        objects: the bucket.
        key: a new key that this process may write.
        writers: number of writes.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """

    async def wins(n: int) -> bool:
        try:
            await objects.put_new(key, str(n).encode())
        except Exists:
            return False
        return True

    try:
        async with Together() as group:
            writes = [group.create_task(wins(n)) for n in range(writers)]
    finally:
        with suppress(ScfWorkersError):
            await objects.delete([key])
    return sum(write.result() for write in writes)


@asynccontextmanager
async def tidied(clear: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Delete an object that a check has made; raise its error only if nothing failed before."""
    try:
        yield
    except BaseException:
        with suppress(ScfWorkersError):
            await clear()
        raise
    await clear()


async def _data(objects: Objects, stem: str) -> str:
    keys = [f"{stem}.txt", f"{stem}-copy.txt"]
    async with tidied(lambda: objects.delete(keys)):
        info = await objects.put(keys[0], b"doctor")
        await objects.copy(*keys, if_match=info.etag)
        if (await objects.get(keys[1])).body != b"doctor":
            raise CheckFailed("what was written is not what was read")
    return "an object was written, copied, read and deleted"


@asynccontextmanager
async def _converted(objects: Objects, stem: str, rule: str) -> AsyncGenerator[str]:
    """Yield the key of a picture that the picture service has made; delete it at the end."""
    keys = [f"{stem}.png", f"{stem}.jpg"]
    async with tidied(lambda: objects.delete(keys)):
        await objects.put(keys[0], _PICTURE, content_type="image/png")
        await objects.process(keys[0], [PictureRule(keys[1], rule)])
        yield keys[1]


async def _pictures(objects: Objects, stem: str) -> str:
    async with _converted(objects, stem, "imageMogr2/format/jpg"):
        return "a picture was converted"


async def _label(objects: Objects, labels: AiLabels, nonce: str) -> str:
    """Read a label back from the file itself, as others will."""
    written = labels.of(f"doctor-{nonce}")
    async with _converted(objects, f"staging/doctor/{nonce}", f"imageMogr2/format/jpg|{written.rule}") as key:
        found = aigc_of((await objects.get(key)).body)
    if not labels.is_ours(found):
        raise CheckFailed("a picture does not bear the metadata label that was written")
    if not written.producer:
        raise CheckFailed(
            "the metadata label names no provider",
            remedy="set AI_LABEL_PRODUCER to the name or the registered code of the provider: docs/ai-labels.md",
        )
    return f"a metadata label was written and read back; the visible one is {'on' if labels.visible else 'off'}"


async def _audit(objects: Objects, stem: str) -> str:
    # The audit skips pictures that are too small to show anything.
    async with _converted(objects, stem, "imageMogr2/thumbnail/256x256!/format/jpg") as key:
        await objects.audit([key])
    await objects.audit_text("一件白色连衣裙")
    return "a picture and a text were audited"


async def _clock(objects: Objects, stem: str, clock: Callable[[], float]) -> str:
    key, before = f"{stem}.txt", clock()
    info = await objects.put(key, b"doctor")
    await objects.delete([key])
    # Dates have whole seconds, cut off: the true time lies within the second after.
    off = max(before - info.date - 1, info.date - clock(), 0.0)
    if off > MAX_CLOCK_DIFFERENCE:
        raise CheckFailed(f"this machine's clock is off by {off:.0f} s")
    return f"off by less than {max(1.0, off):.0f} s"


async def _versioning(objects: Objects) -> str:
    if await objects.versioned():
        raise CheckFailed("versioning is or was on: create-only writes do not hold there")
    return "never versioned"


async def _create_only(objects: Objects, key: str) -> str:
    won = await winners(objects, key, RACERS)
    if won != 1:
        raise CheckFailed(f"{won} of {RACERS} create-only writes at once succeeded, exactly one must")
    return f"{RACERS} writes at once, one winner"
