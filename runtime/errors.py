"""Errors of the runtime.

Permanent
├── BadBody           the body of an HTTP request cannot be read
├── BadSettings       a variable is missing or cannot be used; the text names it and the remedy
└── NoHandler         what should be a function's module is none
"""

from __future__ import annotations

from messages.errors import Permanent

__all__ = ["BadBody", "BadSettings", "NoHandler"]


class BadBody(Permanent):
    """The body of an HTTP request cannot be read."""


class BadSettings(Permanent):
    """A variable is missing or cannot be used, or a call of a function asks for what there is not."""


class NoHandler(Permanent):
    """A name that should be that of a function's module: there is none, or it has no `main_handler`."""
