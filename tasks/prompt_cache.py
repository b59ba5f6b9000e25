"""Texts of the chat model that may be used again: objects in the ledger's bucket that age out by lifecycle.

They are no records: overwritten by a newer text of the same key, and a text that is gone, unreadable or of another
question is asked for again. Only texts that have passed their audit are kept, and no templates.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Final

import msgspec

from messages.errors import Outage, Permanent
from messages.keys import prompt_cache_key
from recipes.prompt import Prompt, Question
from services.errors import Forbidden
from services.objects.port import Objects
from services.repeat import repeated
from tasks.context import Services
from tasks.ledger.records import Accepted

__all__ = ["cached_text", "keep_text", "key_of"]

_LIMIT: Final = 64 * 1024
"""Bytes of an object; a larger one is none of ours."""


class _Entry(msgspec.Struct, frozen=True):
    text: str
    model: str
    question: str = ""
    """Digest of the question, which may change with a deployment's settings and with none of the key's facts."""


def key_of(accepted: Accepted, prompt: Prompt, model: str) -> str:
    """Return the key of a task's text: equal for equal pictures and parameters of any user (pure).

    Args:
        accepted: of the task; its pictures count by their ETags.
        prompt: of its recipe; a changed question or template has another version.
        model: the chat model that is asked.
    """
    facts = [model, accepted.kind, prompt.version, [source.etag for source in accepted.inputs], accepted.params]
    return prompt_cache_key(hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest())


def _digest(question: Question) -> str:
    return hashlib.sha256(msgspec.json.encode(question)).hexdigest()


async def cached_text(key: str, question: Question, services: Services) -> str:
    """Return the text that is kept under a key as the answer to a question; empty for none.

    Raises:
        services.errors.ObjectsDown: the store is down. A machine without the right to read it asks the model instead.
    """
    objects: Objects = services.ledger.objects
    try:
        found = await repeated(lambda: objects.get(key, limit=_LIMIT), services.rng)
        entry = msgspec.json.decode(found.body, type=_Entry)
    except (Forbidden, Permanent, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return entry.text if entry.question == _digest(question) else ""


async def keep_text(key: str, question: Question, text: str, model: str, services: Services) -> None:
    """Keep an answer that has passed its audit. A failure to keep it is ignored: the model is asked again later."""
    body = msgspec.json.encode(_Entry(text, model, _digest(question)))
    with suppress(Outage):
        await services.ledger.objects.put(key, body, content_type="application/json")
