"""Clean: the picture service prepares the inputs for the vendor, or (kinds without a vendor) makes the result.

Pixels never pass through the worker: the service reads the upload and stores its product in staging.
"""

from __future__ import annotations

import asyncio

from consumers.engine.outcomes import Outcome
from consumers.stages.audit import audit_staged, audited, audited_text
from consumers.stages.fan_out import after_clean
from consumers.stages.fetch_inputs import inputs_of
from messages.bodies import Clean
from messages.codec import Header
from messages.codes import Code
from messages.errors import Permanent, Rejected
from messages.keys import staging_prefix
from recipes.recipe import Plan
from services.errors import NotFound
from services.objects.port import PictureInfo, PictureRule
from services.repeat import repeated
from tasks.context import Services
from tasks.ledger.records import Cleaned, InputRef, Product, Staged, StagedResult
from tasks.run import Task
from telemetry.instruments import SpanName
from telemetry.points import reached
from telemetry.tracing import span

__all__ = ["clean"]


async def clean(header: Header, _body: Clean, task: Task, services: Services) -> Outcome:
    """Make the products, unless an earlier clean has recorded them in `cleaned`."""
    if not (task.recipe.vendor or task.recipe.prompt):
        return await _results(header, task, services)
    if await services.ledger.read(task.run, Cleaned.at()) is None:
        products = await _products(task, header, services)
        if services.policy.audit_inputs:
            # Before the record: what is cleaned is paid for.
            block = services.policy.block_suspect_inputs
            await audited([product.key for product in products], services, block_suspect=block)
            await audited_text(task.recipe.text(task.params), services, block_suspect=block)
            reached("clean.audited")
        await services.ledger.write(task.run, Cleaned.at(), Cleaned(products))
        reached("clean.cleaned")
    return after_clean(task)


async def _results(header: Header, task: Task, services: Services) -> Outcome:
    """Make the products that are the results, and audit them."""
    # A first message finds what another clean has staged when it writes its own.
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
    # Each to its end, also beside one that fails: the service would store what is cut off here after the run was wiped.
    made = await asyncio.gather(*jobs, return_exceptions=True)
    if failed := [one for one in made if isinstance(one, BaseException)]:
        raise failed[0]
    return tuple(one for one in made if isinstance(one, Product))


async def _product(task: Task, source: InputRef, stem: str, services: Services) -> Product:
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


async def _pass(key: str, target: str, rule: str, services: Services, source: InputRef | None) -> PictureInfo:
    try:
        with span(SpanName.PROCESS, key=target):
            done = await repeated(lambda: services.objects.process(key, [PictureRule(target, rule)]), services.rng)
    except NotFound as error:
        raise Rejected(f"the input {key} is gone", code=Code.NOT_UPLOADED) from error
    reached("clean.processed")
    # The service takes no If-Match, so what it has read is checked afterwards.
    if source is not None and done.original.etag != source.etag:
        raise Rejected(f"the input {key} was replaced after it was accepted", code=Code.INPUT_CHANGED)
    return done.outputs[0]
