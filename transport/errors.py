"""Errors of the transport.

Outage
└── BrokerDown        no receipt or no connection; a publish may or may not be stored
Permanent
├── Closed            the broker or consumer was closed by us
└── BadBrokerUrl      a broker URL nobody here can open
"""

from __future__ import annotations

from messages.errors import Outage, Permanent

__all__ = ["BadBrokerUrl", "BrokerDown", "Closed"]


class BrokerDown(Outage):
    """No receipt or no connection; a publish may or may not be stored."""


class Closed(Permanent):
    """The broker or the consumer was closed."""


class BadBrokerUrl(Permanent):
    """A broker URL whose scheme or path cannot be opened."""
