"""How messages travel: the port in `transport.port`, and adapters that are opened by URL and imported only then."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from transport.errors import BadBrokerUrl
from transport.port import Broker

__all__ = ["open_broker"]

_PULSAR_SCHEMES = frozenset({"pulsar", "pulsar+ssl", "http", "https"})
_REMEDY = "use sqlite:///absolute/path/file.db or sqlite:///:memory:, or pulsar://host:port"


async def open_broker(
    url: str,
    *,
    clock: Callable[[], float] = time.time,
    token: Callable[[], str] | None = None,
    tenant: str = "public",
    namespace: str = "default",
    admin_url: str = "",
    tls_ca: str = "",
) -> Broker:
    """Open the broker a URL names. What follows `clock` is for Pulsar only.

    Args:
        url: `sqlite:///absolute/path/file.db` (several processes may open the same file), `sqlite:///:memory:`
            (private to the object returned), or `pulsar://`, `pulsar+ssl://` or `http(s)://` and host:port for Pulsar.
        clock: wall time in seconds; due times and ages are counted by it.
        token: gives the token as it is now.
        tenant: the tenant, which is the cluster's id on TDMQ.
        namespace: the namespace.
        admin_url: base URL of the admin interface, which tells backlogs.
        tls_ca: PEM file of the authorities that TLS is verified with; empty takes the usual ones.

    Raises:
        transport.errors.BadBrokerUrl: nobody here can open such a URL; its text names the remedy.
        transport.errors.BrokerDown: it names a broker, which does not answer.
        transport.errors.BrokerRefused: it does not take the token.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from transport.sqlite import SqliteBroker

        return await SqliteBroker.open(_sqlite_path(url), clock=clock)
    if scheme in _PULSAR_SCHEMES:
        from transport.pulsar import PulsarBroker, PulsarOptions

        options = PulsarOptions(
            url=url, token=token, tenant=tenant, namespace=namespace, admin_url=admin_url, tls_ca=tls_ca
        )
        return await PulsarBroker.open(options, clock=clock)
    raise BadBrokerUrl(f"no broker is known by the URL scheme {scheme!r}: {_REMEDY}")


def _sqlite_path(url: str) -> str:
    """The path in a `sqlite:` URL, or `:memory:`."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not url.startswith("sqlite:///"):
        raise BadBrokerUrl(f"a sqlite URL has three slashes, an absolute path and nothing else: {_REMEDY}")
    if path == "/:memory:":
        return ":memory:"
    if path.endswith("/") or "\0" in path:
        raise BadBrokerUrl(f"a sqlite URL names a file: {_REMEDY}")
    return path
