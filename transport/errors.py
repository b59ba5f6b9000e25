"""Errors of the transport.

Outage
└── BrokerDown          no receipt or no connection; a publish may or may not be stored
    └── BrokerUnauthorized   it does not take our token, or the token may not do that
Permanent
├── Closed              the broker or consumer was closed by us
├── Forked              opened before a fork: its connection belongs to the parent
└── BadBrokerUrl        a broker URL nobody here can open
"""

from __future__ import annotations

from messages.errors import Outage, Permanent

__all__ = ["BadBrokerUrl", "BrokerDown", "BrokerUnauthorized", "Closed", "Forked"]


class BrokerDown(Outage):
    """No receipt or no connection; a publish may or may not be stored."""


class BrokerUnauthorized(BrokerDown):
    """The broker does not take our token, or the token may not do that; waits until somebody mends the token."""


class Closed(Permanent):
    """The broker or the consumer was closed."""


class Forked(Permanent):
    """Opened before a fork: the connection and its threads belong to the parent."""


class BadBrokerUrl(Permanent):
    """A broker URL whose scheme or path cannot be opened."""
