"""What a person may have typed wrong: options and arguments are checked before anything is done, bought or written."""

from __future__ import annotations

__all__ = ["BadUsage", "reason"]


class BadUsage(ValueError):
    """An option or argument that cannot be used; the text names it and the remedy."""


def reason(error: OSError) -> str:
    """Why the system refused, in its own words, without the path: that is said as it was given."""
    return error.strerror or type(error).__name__
