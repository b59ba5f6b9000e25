"""The erasure of one user's data. It may be interrupted anywhere: begun again, it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from messages.errors import Permanent
from messages.keys import RunId, erasure_key, index_keys_of, record_key
from services.concurrency import Together
from services.errors import NotFound
from services.objects.port import Objects
from services.objects.walk import pages
from services.repeat import repeated
from tasks.context import ErasureServices
from tasks.erasing.content import emptied
from tasks.erasing.survey import Survey, survey_of
from tasks.errors import CannotErase
from tasks.ledger.operators import Erasure, audit_text
from tasks.ledger.records import Accepted, DeadLetter, Erased, parse_name
from tasks.prompt_cache import key_of
from telemetry import logs
from telemetry.events import Event

__all__ = ["check_erasable", "erase_again", "erase_user"]

_AT_ONCE: Final = 8
_PAUSE_S: Final = 1.0

log = logs.get(__name__)


async def check_erasable(survey: Survey, services: ErasureServices) -> None:
    """Check that a user's data can be erased.

    Raises:
        tasks.errors.CannotErase: a task of the user is unfinished, or a bucket keeps versions; the text has the remedy.
        services.errors.ObjectsDown: the store did not answer.
    """
    if survey.unfinished:
        listed = ", ".join(one.run.task for one in survey.unfinished[:5])
        more = f" and {len(survey.unfinished) - 5} more" if len(survey.unfinished) > 5 else ""  # noqa: PLR2004
        ended = any(one.ended for one in survey.unfinished)
        remedy = "let the backend acknowledge their verdicts" if ended else "wait for them, or give --cancel"
        raise CannotErase(f"unfinished tasks of {survey.user}: {listed}{more}; {remedy}")
    for name, objects in (("COS_BUCKET", services.objects), ("LEDGER_BUCKET", services.ledger.objects)):
        if await objects.versioned():
            raise CannotErase(f"versioning is or was on in {name}: deleted data would stay there as old versions")


async def erase_user(survey: Survey, by: str, why: str, services: ErasureServices) -> Survey:
    """Erase a user's data, and return what is left of it: nothing, unless new data came meanwhile.

    Args:
        survey: the user's data.
        by: name of the operator.
        why: the reason.
        services: the two buckets.

    Raises:
        tasks.errors.CannotErase: see `check_erasable`; nothing was done.
        services.errors.ObjectsDown: the store failed. Erasing again goes on where this stopped.
    """
    await check_erasable(survey, services)
    if survey.empty:
        return survey
    await _audit(survey, by, why, services)
    for folder in survey.folders:
        await _delete_below(folder.prefix, services)
    gate = asyncio.Semaphore(_AT_ONCE)
    async with Together() as group:
        for run, names in survey.runs.items():
            group.create_task(_empty_run(run, names, services, gate))
    for letter in survey.letters:
        await _empty(letter.id.key, DeadLetter, services.ledger.objects, services)
    for entry in survey.entries:
        # That of the user last: by it the others are found.
        for key in index_keys_of(entry):
            await _delete([key], services.ledger.objects, services)
    return await survey_of(survey.user, services)


async def erase_again(left: Survey, by: str, why: str, services: ErasureServices, *, patience_s: float) -> Survey:
    """Erase what workers still write for cancelled tasks, until nothing is left or the patience is spent.

    Args:
        left: what an erasure has left.
        by: name of the operator.
        why: the reason.
        services: the two buckets.
        patience_s: seconds after which no other erasure begins.

    Returns:
        What is left.

    Raises:
        messages.errors.ScfWorkersError: see `erase_user`.
    """
    now = asyncio.get_running_loop().time
    until = now() + patience_s
    while not left.empty and now() < until:
        await asyncio.sleep(_PAUSE_S)
        left = await erase_user(await survey_of(left.user, services), by, why, services)
    return left


async def _audit(survey: Survey, by: str, why: str, services: ErasureServices) -> None:
    """Record the erasure before its effects."""
    ledger = services.ledger
    await ledger.ask_time()
    objects, size = (sum(getattr(folder, field) for folder in survey.folders) for field in ("objects", "bytes"))
    record = Erasure(audit_text(by), audit_text(why), ledger.now(), objects, size, survey.records, len(survey.entries))
    number = 1
    while not (await ledger.write_key(erasure_key(survey.user, number), record)).mine:
        number += 1
    log.info(
        Event.USER_ERASED,
        user_id=survey.user,
        by=record.by,
        why=record.why,
        files=objects,
        size=size,
        records=record.records,
    )


async def _delete_below(prefix: str, services: ErasureServices) -> None:
    async for page in pages(services.objects, prefix, services.ledger.rng):
        await _delete([item.key for item in page.items], services.objects, services)


async def _delete(keys: Sequence[str], objects: Objects, services: ErasureServices) -> None:
    if keys:
        await repeated(partial(objects.delete, keys), services.ledger.rng)


async def _empty_run(run: RunId, names: Sequence[str], services: ErasureServices, gate: asyncio.Semaphore) -> None:
    """Empty the records of a run one after another, then mark it."""
    async with gate:
        await _forget_text(run, services)
        for name in names:
            parsed = parse_name(name)
            kind = parsed.kind if parsed else None
            await _empty(record_key(run, name), kind, services.ledger.objects, services)
        await _mark(run, services)


async def _mark(run: RunId, services: ErasureServices) -> None:
    """Record that a run was emptied. Its records are compared with the time of this, so a repeat makes it younger."""
    ledger = services.ledger
    if (await ledger.write(run, Erased.at(), Erased())).mine:
        return
    key = record_key(run, Erased.at().text)
    body = (await repeated(partial(ledger.objects.get, key), ledger.rng)).body
    await repeated(partial(ledger.objects.put, key, body, content_type="application/json"), ledger.rng)


async def _empty(key: str, kind: type[msgspec.Struct] | None, objects: Objects, services: ErasureServices) -> None:
    try:
        stored = await repeated(partial(objects.get, key), services.ledger.rng)
    except NotFound:
        return
    body = emptied(stored.body, kind)
    if body != stored.body:
        await repeated(partial(objects.put, key, body, content_type="application/json"), services.ledger.rng)


async def _forget_text(run: RunId, services: ErasureServices) -> None:
    """Delete the cached texts that the chat models of this deployment wrote for a run."""
    try:
        accepted = await services.ledger.read(run, Accepted.at())
    except Permanent:
        return
    recipe = services.recipes.get(accepted.record.kind) if accepted else None
    if accepted is None or recipe is None or recipe.prompt is None:
        return
    keys = [key_of(accepted.record, recipe.prompt, model) for model in services.chat_models]
    await _delete(keys, services.ledger.objects, services)
