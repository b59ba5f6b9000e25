"""Errors of the runners.

Outage
└── Unsettled         a call's time is over, and some messages are neither done nor released
"""

from __future__ import annotations

from messages.errors import Outage

__all__ = ["Unsettled"]


class Unsettled(Outage):
    """A call's time is over, and some messages are neither done nor released."""
