"""Apache Pulsar, and TDMQ for Pulsar, behind the port.

- `options`: URL, token, tenant, namespace and time-outs of a connection.
- `handshake`: checks before the client starts that the broker is reachable and accepts the token.
- `native`: the only module that calls pulsar-client; `clientlog` forwards the client's log lines.
- `reconnecting_producer` publishes on one topic, `topic_consumer` receives from one topic; `watchdog` renews both when
  their connection stays down.
- `consumer` and `broker` implement the port; `admin` reads backlogs from the admin interface.

Pulsar features that are not used, and why: the redelivery count does not rise when a process dies, so it cannot find a
message that crashes its worker; Pulsar's own retry and dead letters depend on that count; a batch is delivered and
released only as a whole.
"""

from __future__ import annotations

from transport.pulsar.broker import PulsarBroker
from transport.pulsar.options import PulsarOptions

__all__ = ["Options", "PulsarBroker", "PulsarOptions"]

Options = PulsarOptions
"""Name under which `transport` looks up the options of an adapter."""
