"""A real Pulsar broker on this machine, without a container: for tests, the demo and people.

- `distribution` fetches one pinned file by Maven, checks its digest and unpacks it once.
- `local` starts, probes and stops one private broker in a folder of its own, on loopback only.
- `__main__` keeps one running for as long as another process lives.

Java 17 or newer is needed, and Maven for the first start.
"""

from __future__ import annotations

from sandbox.pulsar.distribution import VERSION, BrokerFailed, why_not
from sandbox.pulsar.local import LocalPulsar

__all__ = ["VERSION", "BrokerFailed", "LocalPulsar", "why_not"]
