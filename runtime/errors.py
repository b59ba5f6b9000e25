"""Errors of the runtime.

Permanent
├── BadBody           the body of an HTTP request cannot be read
├── BadSettings       a variable is missing or cannot be used; the text names it and the remedy
└── NoHandler         a name is not that of a function's module
"""

from __future__ import annotations

from messages.errors import Permanent

__all__ = ["BadBody", "BadSettings", "NoHandler"]


class BadBody(Permanent):
    """The body of an HTTP request cannot be read."""


class BadSettings(Permanent):
    """A variable is missing or cannot be used, or the request of a function's call is invalid."""


class NoHandler(Permanent):
    """A name is not that of a function's module: no such module, or no `main_handler` in it."""
