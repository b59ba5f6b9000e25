"""Examinations of a deployment: each adapter lists its own, and the doctor runs them.

A broker's are in `transport.port`, which knows no services.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

__all__ = ["Check"]


class Check(msgspec.Struct, frozen=True):
    """One thing to examine about a deployment."""

    name: str
    run: Callable[[], Awaitable[str]]
    """Returns what it saw.

    Raises `services.errors.CheckFailed`, or another `messages.errors.ScfWorkersError`, when something is wrong.
    """
    remedy: str
    """What to do when it fails."""
    needs: str = ""
    """Name of the check before it without which it would only fail too, with a remedy for what is not wrong."""
