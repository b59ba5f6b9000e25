"""Errors of the ways in.

Permanent
└── BadBody           the body of an HTTP request cannot be read
"""

from __future__ import annotations

from messages.errors import Permanent

__all__ = ["BadBody"]


class BadBody(Permanent):
    """The body of an HTTP request cannot be read."""
