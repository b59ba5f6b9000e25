"""Errors of the ways in which the engine is run.

Outage
└── Unsettled         a call's time is over, and not every message is done or given back
"""

from __future__ import annotations

from messages.errors import Outage

__all__ = ["Unsettled"]


class Unsettled(Outage):
    """A call's time is over, and not every message is done or given back."""
