"""Errors of the transport.

Outage
└── BrokerDown          no receipt or no connection; a publish may or may not be stored
    └── BrokerUnauthorized   the broker rejects our token, or the token lacks a permission
Permanent
├── Closed              this process closed the broker or the consumer
├── Forked              opened before a fork: its connection belongs to the parent
└── BadBrokerUrl        no adapter can open this broker URL
"""

from __future__ import annotations

from messages.errors import Outage, Permanent

__all__ = ["BadBrokerUrl", "BrokerDown", "BrokerUnauthorized", "Closed", "Forked"]


class BrokerDown(Outage):
    """No receipt or no connection; a publish may or may not be stored."""


class BrokerUnauthorized(BrokerDown):
    """The broker rejects our token, or the token lacks a permission. Messages wait until the token is fixed."""


class Closed(Permanent):
    """The broker or the consumer was closed."""


class Forked(Permanent):
    """Opened before a fork: the connection and its threads belong to the parent."""


class BadBrokerUrl(Permanent):
    """No adapter opens a broker URL with this scheme, path or setting."""
