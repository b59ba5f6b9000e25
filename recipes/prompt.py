"""The text that a kind sends to its vendor, or sells: a question to a chat model, and a template without one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["Prompt", "Question"]


class Question(msgspec.Struct, frozen=True):
    """A question to a chat model. The cleaned inputs go along as pictures."""

    system: str
    """The model's instructions."""
    text: str


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """Source of a kind's text. Asking again costs tokens only, so the stage may be repeated."""

    version: str
    """Changes with question or template: part of the cache's key."""
    ask: Callable[[Any], Question]
    """Parameters -> the question."""
    template: Callable[[Any], str]
    """Parameters -> the text where the model gives none."""
    vendor: str = "tokenhub"
    """Name of the chat model's vendor."""
    patience_s: float = 90.0
    """Seconds for which an outage of the model is waited for before the template is taken."""
    limit_s: float = 60.0
    """Limit of one question, in seconds."""
    most_chars: int = 2000
    """Characters of the text; a longer answer does not fit."""
