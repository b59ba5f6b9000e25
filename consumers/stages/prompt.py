"""Prompt: the text that the paid calls send, or that is the result, by the chat model or by the recipe's template.

A repeat costs tokens only, so this stage is repeated freely, and it never ends a run: it waits for a model that is down
until the recipe's patience ends, then takes the template; also if the model refuses, or attempts are spent.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from consumers.engine.errors import AttemptsSpent
from consumers.engine.outcomes import Done, Leave, Outcome, Snooze
from consumers.engine.retry import MAX_ATTEMPTS, outage_delay
from consumers.stages.audit import audited_text
from consumers.stages.collect import PROMPT_TEMPLATE
from consumers.stages.fan_out import fan_out
from messages.bodies import Prompt as PromptBody
from messages.codec import Header
from messages.errors import Permanent, ScfWorkersError
from recipes.prompt import Prompt
from services.errors import VendorDown, VendorFull, VendorMissing, VendorRefused
from services.vendors.chat import ChatAnswer, ChatModel, ChatRequest
from tasks.calls.spend import count_usage
from tasks.context import Services
from tasks.control.pauses import PAUSED, Target
from tasks.errors import VendorPaused
from tasks.ledger.ledger import Stored
from tasks.ledger.records import Cleaned, Prompted
from tasks.prompt_cache import cached_text, keep_text, key_of
from tasks.run import Task
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric
from telemetry.points import reached

__all__ = ["prompt"]

_URL_MARGIN_S: Final = 60
"""Seconds for which the pictures' URLs outlive the question."""

_TOKENS_A_CHARACTER: Final = 2
"""Tokens of a Chinese character, at most."""

_NOT_BLANK: Final = r"\S"
"""Pattern of an answer with words: a blank one would be refused by the vendor that it is sent to, and fail the run."""

log = logs.get(__name__)


async def prompt(header: Header, _body: PromptBody, task: Task, services: Services) -> Outcome:
    """Write `prompted`, unless an earlier message has, and go on with the paid calls, or end with the text."""
    recipe, cleaned = task.recipe.prompt, await services.ledger.read(task.run, Cleaned.at())
    if recipe is None or cleaned is None:
        log.warning(Event.MESSAGE_UNPROVEN, why="the kind has no prompt, or its inputs are not ready")
        return Leave()
    stored = await services.ledger.read(task.run, Prompted.at())
    found = stored or await _write(header, recipe, task, cleaned, services)
    if isinstance(found, Snooze):
        return found
    if task.recipe.vendor:
        return fan_out(task)
    text = found.record
    return Done((), degraded=(PROMPT_TEMPLATE,) if text.source == "template" else (), text=text.text)


async def _write(
    header: Header, recipe: Prompt, task: Task, cleaned: Stored[Cleaned], services: Services
) -> Stored[Prompted] | Snooze:
    if header.attempt >= MAX_ATTEMPTS:
        return await _template(recipe, task, AttemptsSpent(f"attempt {header.attempt} of {MAX_ATTEMPTS}"), services)
    model = services.chats.get(recipe.vendor)
    key = key_of(task.accepted, recipe, model.model) if model else ""
    if text := await _from_cache(key, recipe, task, services):
        return await _store(Prompted(text, "cache"), task, services)
    if header.seq > header.attempt:
        # An earlier copy waited, perhaps for the audit: the model is not asked again while its answer could not be
        # audited.
        await _audit(recipe.template(task.params), task, services)
    try:
        answer = await _ask(model, recipe, task, cleaned.record, services)
    except (VendorDown, VendorFull) as away:
        patience = services.policy.prompt_patience_s or recipe.patience_s
        left = cleaned.at + patience - services.ledger.now()
        if left > 0:
            # The topic does not pause: the next message may need no model.
            delay = outage_delay(header.seq - header.attempt, away.retry_after)
            why = PAUSED if isinstance(away, VendorPaused) else type(away).__name__
            return Snooze(min(delay, max(left, 1.0)), why=why)
        return await _template(recipe, task, away, services)
    except Permanent as refused:
        return await _template(recipe, task, refused, services)
    count_usage(recipe.vendor, task.accepted.kind, answer.usage)
    text = answer.value.prompt
    await _audit(text, task, services)
    stored = await _store(Prompted(text, "model", answer.usage), task, services)
    await keep_text(key, recipe.ask(task.params), text, answer.model, services)
    return stored


async def _template(recipe: Prompt, task: Task, why: ScfWorkersError, services: Services) -> Stored[Prompted]:
    log.warning(Event.PROMPT_TEMPLATE_USED, error=why, vendor=recipe.vendor)
    text = recipe.template(task.params)
    await _audit(text, task, services)
    return await _store(Prompted(text, "template"), task, services)


async def _audit(text: str, task: Task, services: Services) -> None:
    """Audit a text: as a result where it is one, else as an input of the paid calls."""
    suspect = services.policy.block_suspect_inputs if task.recipe.vendor else services.policy.block_suspect
    await audited_text(text, services, block_suspect=suspect)
    reached("prompt.audited")


async def _from_cache(key: str, recipe: Prompt, task: Task, services: Services) -> str:
    """Return a text of the cache; empty for none. A replay wants another text than the one with which it failed."""
    if not key or task.run.run > 0:
        return ""
    text = await cached_text(key, recipe.ask(task.params), services)
    metrics.count(Metric.PROMPT_CACHE, kind=task.accepted.kind, outcome="hit" if text else "miss")
    return text


async def _ask(
    model: ChatModel | None, recipe: Prompt, task: Task, cleaned: Cleaned, services: Services
) -> ChatAnswer[Any]:
    if Target("vendor", recipe.vendor) in await services.pauses.current(services.ledger):
        raise VendorPaused(f"the chat model {recipe.vendor!r} is paused by an operator")
    if model is None:
        log.error(Event.VENDOR_MISSING, vendor=recipe.vendor)
        raise VendorMissing(f"the chat model {recipe.vendor!r} is not configured here: set its key")
    pictures = cleaned.products
    if len(pictures) > model.most_images or any(picture.size > model.image_limit for picture in pictures):
        raise VendorRefused("more pictures than the chat model takes, or a larger one")
    expires = int(recipe.limit_s) + _URL_MARGIN_S
    urls = [await services.objects.presign(picture.key, expires=expires) for picture in pictures]
    question = recipe.ask(task.params)
    request = ChatRequest(
        question.system,
        question.text,
        _form(recipe.most_chars),
        tuple(urls),
        _TOKENS_A_CHARACTER * recipe.most_chars,
    )
    return await model.ask(request, timeout=recipe.limit_s)


@lru_cache
def _form(most_chars: int) -> type[Any]:
    """Return the schema of an answer."""
    text = Annotated[str, msgspec.Meta(min_length=1, max_length=most_chars, pattern=_NOT_BLANK)]
    return msgspec.defstruct("PromptAnswer", [("prompt", text)], frozen=True)


async def _store(prompted: Prompted, task: Task, services: Services) -> Stored[Prompted]:
    stored = await services.ledger.write(task.run, Prompted.at(), prompted)
    reached("prompt.prompted")
    if stored.mine:
        usage = prompted.usage
        metrics.count(Metric.PROMPTS, kind=task.accepted.kind, source=prompted.source)
        log.info(Event.PROMPT_WRITTEN, source=prompted.source, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out)
    return stored
