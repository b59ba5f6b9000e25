"""Checks of a deployment: each adapter lists its own, and the doctor runs them.

A broker's are in `transport.port`, which knows no services.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from services.reach import Address

__all__ = ["Check"]


class Check(msgspec.Struct, frozen=True):
    """A check of a deployment."""

    name: str
    run: Callable[[], Awaitable[str]]
    """Run the check and return its finding.

    Raises `services.errors.CheckFailed`, or another `messages.errors.ScfWorkersError`, when something is wrong.
    """
    remedy: str
    """Remedy for its failure."""
    address: Address | None = None
    """Address of the other side, for a diagnosis of failures."""
    needs: str = ""
    """Name of the check that must pass first: without it this one would fail too, with the wrong remedy."""
