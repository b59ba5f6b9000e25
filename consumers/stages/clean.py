"""Clean: the picture service prepares the inputs for the vendor, or (kinds without a vendor) makes the result.

Pixels never pass through the worker: the service reads the upload and stores its product in staging. A video is copied
there as it is, by the store, so that a second upload under its key changes nothing.
"""

from __future__ import annotations

import asyncio

from consumers.engine.outcomes import Outcome, Snooze
from consumers.engine.retry import jittered
from consumers.stages.audit import audit_staged, audited, audited_text, is_blocked
from consumers.stages.fan_out import after_clean
from consumers.stages.fetch_inputs import inputs_of
from consumers.stages.schedule import next_audit
from messages.bodies import Clean, Stage
from messages.codec import Header
from messages.codes import Code
from messages.errors import Permanent, Rejected
from messages.keys import staging_prefix
from recipes.recipe import Plan
from services.errors import BadVideo, Changed, NotFound
from services.objects.port import PictureInfo, PictureRule
from services.repeat import repeated
from tasks.accepting.inputs import is_video
from tasks.context import Services
from tasks.ledger.records import Cleaned, InputRef, Product, Staged, StagedResult
from tasks.run import Task
from tasks.video_audits import find_videos, jobs_of
from telemetry.instruments import SpanName
from telemetry.points import reached
from telemetry.tracing import span

__all__ = ["clean"]


async def clean(header: Header, _body: Clean, task: Task, services: Services) -> Outcome:
    """Make the products, unless an earlier clean has recorded them in `cleaned`."""
    if not (task.recipe.vendor or task.recipe.prompt):
        return await _results(header, task, services)
    if await services.ledger.read(task.run, Cleaned.at()) is None:
        # A first message learns of another clean's products when it writes its own record.
        begun = (await jobs_of(task.run, Stage.CLEAN, services))[0] if header.seq and task.recipe.video_inputs else None
        products = begun.record.products if begun else await _products(task, header, services)
        # Before the record: recorded inputs are sent to the vendor and paid for.
        if not await _audit(products, task, services, videos_only=begun is not None):
            return Snooze(jittered(next_audit(header.seq), services.rng))
        await services.ledger.write(task.run, Cleaned.at(), Cleaned(products))
        reached("clean.cleaned")
    return after_clean(task)


async def _audit(products: tuple[Product, ...], task: Task, services: Services, *, videos_only: bool) -> bool:
    """Audit the user's text, and the inputs unless the deployment leaves them out.

    Returns:
        False while the audit of a video is at work.

    Raises:
        messages.errors.Rejected: one of them is blocked (内容违规), or a video that cannot be played.
    """
    block = services.policy.block_suspect_inputs
    keys = [product.key for product in products] if services.policy.audit_inputs else []
    videos = [key for key in keys if is_video(key)]
    if not videos_only:
        await audited([key for key in keys if key not in videos], services, block_suspect=block)
        await audited_text(task.recipe.text(task.params), services, block_suspect=block)
    findings = await find_videos(task.run, Stage.CLEAN, videos, services, products) if videos else {}
    if findings is None:
        return False
    for key, found in findings.items():
        if isinstance(found, BadVideo):
            raise found
        if is_blocked(found, block_suspect=block):
            raise Rejected(f"the audit found {found.label} in {key}", code=Code.CONTENT_VIOLATION)
    reached("clean.audited")
    return True


async def _results(header: Header, task: Task, services: Services) -> Outcome:
    """Make the products that are the results, and audit them."""
    # A first message learns of another clean's set when it writes its own record.
    stored = await services.ledger.read(task.run, Staged.at()) if header.seq else None
    if stored is None:
        await audited_text(task.recipe.text(task.params), services, block_suspect=services.policy.block_suspect)
        products = await _products(task, header, services)
        files = tuple(StagedResult(made.key, made.etag, made.size, 1, made.extension) for made in products)
        stored = await services.ledger.write(task.run, Staged.at(), Staged(files))
        reached("results.staged")
    return await audit_staged(task, stored.record, services)


async def _products(task: Task, header: Header, services: Services) -> tuple[Product, ...]:
    sources = await inputs_of(task, header.attempt, services)
    folder = staging_prefix(task.run, services.ledger.nonce())
    jobs = [_product(task, source, f"{folder}input_{n:02d}", services) for n, source in enumerate(sources, 1)]
    # Each to its end, also if another fails: the service would complete an interrupted call after the run's files were
    # deleted.
    made = await asyncio.gather(*jobs, return_exceptions=True)
    if failed := [one for one in made if isinstance(one, BaseException)]:
        raise failed[0]
    return tuple(one for one in made if isinstance(one, Product))


async def _product(task: Task, source: InputRef, stem: str, services: Services) -> Product:
    if is_video(source.key):
        return await _video(task, source, stem, services)
    plan: Plan = task.recipe.clean(task.params, source.key.rpartition(".")[2])
    key, made = source.key, None
    for n, rule in enumerate(plan.passes):
        last = n + 1 == len(plan.passes)
        target = f"{stem}.{plan.extension}" if last else f"{stem}_pass{n + 1}.png"
        made = await _pass(key, target, rule, services, source if n == 0 else None)
        key = target
    if made is None:
        raise Permanent(f"the recipe of {task.run.stem} makes nothing of {source.key}")
    return Product(made.key, made.etag, made.size, plan.extension)


async def _video(task: Task, source: InputRef, stem: str, services: Services) -> Product:
    """Copy a video to staging, and check it: the vendor would be paid for one that it cannot read."""
    extension = source.key.rpartition(".")[2].lower()
    target = f"{stem}.{extension}"
    try:
        copied = await repeated(lambda: services.objects.copy(source.key, target, if_match=source.etag), services.rng)
    except NotFound as error:
        raise Rejected(f"the input {source.key} is gone", code=Code.NOT_UPLOADED) from error
    except Changed as error:
        raise _replaced(source.key) from error
    info = await repeated(lambda: services.objects.video_info(target), services.rng)
    if not info.seconds:
        raise BadVideo(f"the input {source.key} does not say how long it lasts")
    if info.seconds > task.recipe.most_video_s:
        raise Rejected(f"the input {source.key} lasts {info.seconds:.0f} s", code=Code.VIDEO_TOO_LARGE)
    return Product(target, copied.etag, source.size, extension)


def _replaced(key: str) -> Rejected:
    return Rejected(f"the input {key} was replaced after it was accepted", code=Code.INPUT_CHANGED)


async def _pass(key: str, target: str, rule: str, services: Services, source: InputRef | None) -> PictureInfo:
    try:
        with span(SpanName.PROCESS, key=target):
            done = await repeated(lambda: services.objects.process(key, [PictureRule(target, rule)]), services.rng)
    except NotFound as error:
        raise Rejected(f"the input {key} is gone", code=Code.NOT_UPLOADED) from error
    reached("clean.processed")
    # The service takes no If-Match, so the object that it has read is checked afterwards.
    if source is not None and done.original.etag != source.etag:
        raise _replaced(key)
    return done.outputs[0]
