"""Errors of the runtime.

Permanent
└── BadSettings       a variable is missing or cannot be used; the text names it and the remedy
"""

from __future__ import annotations

from messages.errors import Permanent

__all__ = ["BadSettings"]


class BadSettings(Permanent):
    """A variable of the environment is missing or cannot be used."""
