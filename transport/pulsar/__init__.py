"""Apache Pulsar, and TDMQ for Pulsar, behind the port.

- `options` is what a connection is made of: URL, token, tenant and namespace.
- `handshake` asks the broker once, before the client does, whether it is there and takes our token.
- `native` is the only module that touches pulsar-client, and `clientlog` forwards its log lines.
- `reconnecting_producer` publishes on one topic, `topic_consumer` receives from one; both are renewed when their
  connection stays away.
- `consumer` and `broker` are the port's face; `admin` asks the admin interface what waits.

What Pulsar could do and is not used: its redelivery count does not rise when a process dies, so it finds no message
that kills; its own retry and dead letters rest on that count; batches are handed out and given back as a whole.
"""

from __future__ import annotations

from transport.pulsar.broker import PulsarBroker
from transport.pulsar.options import PulsarOptions

__all__ = ["Options", "PulsarBroker", "PulsarOptions"]

Options = PulsarOptions
"""As `transport` finds it."""
