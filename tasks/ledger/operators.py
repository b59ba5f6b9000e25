"""Records of what operators did: each is created before its effect, and final."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["Erasure", "Purged", "Replayed", "audit_text"]

_CUT: Final = 200
"""Characters kept of an operator's name and reason."""


def audit_text(text: str) -> str:
    """Return an operator's name or reason as a record keeps it: cut, and without what is no Unicode.

    Bytes of a command line that are not UTF-8 are lone surrogates, which no JSON can hold; each becomes a `?`.
    """
    return text[:_CUT].encode("utf-8", "replace").decode()


class Replayed(msgspec.Struct, frozen=True):
    """`dead/{day}/{fingerprint}/{id}/replayed-{n}`: an operator's replay of a letter; created before its effect."""

    action: str
    """A `tasks.dead_letters.plan.Action`."""
    run: int
    """Number of the run that is delivered, woken or begun."""
    by: str
    """Operator, as the command was given it."""
    why: str
    at: float
    """Seconds since the epoch by the store's clock."""


class Purged(msgspec.Struct, frozen=True):
    """`dead/{day}/{fingerprint}/{id}/purged`: an operator's purge of a letter; created before it is deleted."""

    by: str
    """Operator, as the command was given it."""
    why: str
    at: float
    """Seconds since the epoch by the store's clock."""
    user: str = ""
    task: str = ""
    step: int = 0
    run: int = 0


class Erasure(msgspec.Struct, frozen=True):
    """`erased/{user}/{n}`: an operator's erasure of a user's data; created before its effect."""

    by: str
    """Operator, as the command was given it."""
    why: str
    at: float
    """Seconds since the epoch by the store's clock."""
    objects: int
    """Objects to be deleted."""
    bytes: int
    """Their size."""
    records: int
    """Records to be emptied."""
    entries: int
    """Entries of lists to be deleted."""
