"""Checks of a chat endpoint that cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from services.checks import Check
from services.errors import CheckFailed
from services.vendors.chat import ChatModel

__all__ = ["checks"]

_KEYLESS: Final = "set TOKENHUB_API_KEY, or unset TOKENHUB_MODEL"


def checks(model: ChatModel | None) -> Sequence[Check]:
    """Return the check of our key and model.

    Args:
        model: the client; None if a model is configured, but no key.
    """
    if model is None:
        return (Check("tokenhub", _keyless, _KEYLESS),)
    remedy = "TOKENHUB_URL, TOKENHUB_API_KEY and TOKENHUB_MODEL: keys belong to one site"
    return (Check("tokenhub", partial(_ready, model), remedy),)


async def _keyless() -> str:
    text = "TOKENHUB_MODEL is set, but TOKENHUB_API_KEY is not: every prompt is the template"
    raise CheckFailed(text, remedy=_KEYLESS)


async def _ready(model: ChatModel) -> str:
    await model.check()
    return f"it takes the key and knows {model.model}"
