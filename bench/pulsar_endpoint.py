"""Pulsar for benchmarks: that of PULSAR_URL (with PULSAR_ADMIN_URL, PULSAR_TOKEN), else a local one (needs Java)."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Generator
from pathlib import Path

import msgspec
import pulsar

from bench.environment import TOPIC
from sandbox.pulsar import LocalPulsar
from transport.pulsar import PulsarBroker, PulsarOptions

__all__ = ["PulsarEndpoint", "pulsar_endpoint"]


class PulsarEndpoint(msgspec.Struct, frozen=True):
    """A broker, and a namespace for each measurement."""

    url: str
    admin_url: str
    broker: LocalPulsar | None

    def namespace(self) -> str:
        """Return a new namespace; on an external broker the one that PULSAR_NAMESPACE names."""
        if self.broker is None:
            return os.environ.get("PULSAR_NAMESPACE", "default")
        name = f"bench-{secrets.token_hex(6)}"
        self.broker.make_namespace(name)
        return name

    def path(self, namespace: str, topic: str = TOPIC) -> str:
        """Return the full name of a topic."""
        return f"persistent://public/{namespace}/{topic}"

    def client(self) -> pulsar.Client:
        """Open the raw client."""
        return pulsar.Client(self.url, authentication=self.authentication, logger=quiet())

    @property
    def authentication(self) -> pulsar.AuthenticationToken | None:
        """Authentication with PULSAR_TOKEN."""
        token = os.environ.get("PULSAR_TOKEN", "")
        return pulsar.AuthenticationToken(token) if token else None

    async def open(self, namespace: str) -> PulsarBroker:
        """Open our adapter."""
        token = os.environ.get("PULSAR_TOKEN", "")
        options = PulsarOptions(
            url=self.url, namespace=namespace, admin_url=self.admin_url, token=(lambda: token) if token else None
        )
        return await PulsarBroker.open(options)


def quiet() -> pulsar.ConsoleLogger:
    """Return a logger that hides the client's output, because the figures are printed to standard output."""
    return pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)


@contextlib.contextmanager
def pulsar_endpoint() -> Generator[PulsarEndpoint]:
    """Provide a broker while it is needed.

    Raises:
        sandbox.pulsar.BrokerFailed: no broker is available.
    """
    if url := os.environ.get("PULSAR_URL"):
        yield PulsarEndpoint(url, os.environ.get("PULSAR_ADMIN_URL", ""), None)
        return
    with tempfile.TemporaryDirectory() as folder:
        broker = LocalPulsar(Path(folder) / "pulsar")
        try:
            broker.start()
            yield PulsarEndpoint(broker.url, broker.admin_url, broker)
        finally:
            broker.kill()
