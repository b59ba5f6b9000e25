"""Errors of the runtime.

Permanent
├── BadSettings       a variable is missing or cannot be used; the text names it and the remedy
└── NoHandler         what should be a function's module is none
"""

from __future__ import annotations

from messages.errors import Permanent

__all__ = ["BadSettings", "NoHandler"]


class BadSettings(Permanent):
    """A variable is missing or cannot be used, or a call of a function asks for what there is not."""


class NoHandler(Permanent):
    """A name that should be that of a function's module: there is none, or it has no `main_handler`."""
