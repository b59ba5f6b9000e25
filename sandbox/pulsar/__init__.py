"""Real Pulsar broker on this machine, without a container: for tests, the demo and development.

- `distribution` downloads one pinned file with Maven, checks its digest and unpacks it once.
- `local` starts, probes and stops one private broker in a folder, on loopback only.
- `__main__` keeps one running while another process lives.

It needs Java 17 or newer, and Maven for the first start.
"""

from __future__ import annotations

from sandbox.pulsar.distribution import VERSION, BrokerFailed, unavailable_reason
from sandbox.pulsar.local import LocalPulsar

__all__ = ["VERSION", "BrokerFailed", "LocalPulsar", "unavailable_reason"]
