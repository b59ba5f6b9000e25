"""Rules of production: values that load, but only a local machine may have. Pure.

With `ENVIRONMENT=production` keys are long and differ, and nothing readable or forged goes over a network: plain http,
a broker's token without TLS, results from any host of a suffix, and addresses of a cloud's metadata are refused.
Loopback is always allowed, and `ALLOW_UNSAFE` names the variables whose network rules are waived.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from services.addresses import literal_address, plain_host
from tasks.accepting.tickets import MIN_SECRET_BYTES
from telemetry.secrets import Secret

if TYPE_CHECKING:
    from runtime.settings import Settings

__all__ = ["NETWORK", "SIGNING", "hosts_of", "is_loopback", "is_metadata", "refusals"]

SIGNING: Final = ("AI_LABEL_SECRET", "INTERNAL_CALLBACK_SECRET", "JWT_SECRET", "TICKET_SECRET", "WEBHOOK_SECRET")
"""Keys of an HMAC-SHA256, which must be as long as its hash (RFC 2104, section 3)."""

_URLS: Final = (
    "BROKER_URL",
    "BROKER_ADMIN_URL",
    "COS_ENDPOINT",
    "BACKEND_URL",
    "API_URL",
    "WEBHOOK_URL",
    "RUNNINGHUB_URL",
    "ARK_URL",
    "VOD_URL",
    "TOKENHUB_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)

NETWORK: Final = (*_URLS, "FETCH_HOSTS", "FETCH_PRIVATE_HOSTS", "SOURCE_HOSTS", "SOURCE_PRIVATE_HOSTS")
"""Variables that name hosts: those that `ALLOW_UNSAFE` may list."""

_METADATA_NAMES: Final = frozenset({"metadata.tencentyun.com", "metadata.google.internal"})
"""Names of a cloud's metadata service: Tencent Cloud (CVM, instance metadata) and Google Cloud."""

_METADATA_NETWORKS: Final = tuple(
    ipaddress.ip_network(network) for network in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")
)
"""Link-local addresses, which hold the metadata of most clouds, and the one of AWS over IPv6."""

_HTTPS_PORT: Final = "443"
_REGISTRIES: Final = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})
"""Second labels under which a country's registry sells names, as in `com.cn`."""
_COUNTRY_LETTERS: Final = 2


def refusals(settings: Settings, secrets: Mapping[str, Secret]) -> Iterator[str]:
    """Return every rule of production that the settings break, each as a sentence with the variable and the remedy.

    Args:
        settings: the settings; with `ENVIRONMENT=development` they break none.
        secrets: every secret of them by its variable.
    """
    if settings.environment == "development":
        return
    yield from _short(secrets)
    yield from _equal(secrets)
    if not settings.ticket_required:
        yield "TICKET_REQUIRED is false, which only a sandbox may have: take it out, and let the backend sign tickets"
    allowed = settings.unsafe
    for name, text in _unsafe(settings):
        if name not in allowed:
            yield f"{name} {text}, or allow it with ALLOW_UNSAFE={name}"


def is_loopback(host: str) -> bool:
    """Return True if a host is this machine, by its name or in any form of its address."""
    address = literal_address(host)
    if address is None:
        name = plain_host(host)
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback


def is_metadata(host: str) -> bool:
    """Return True if a host is a cloud's metadata service, by its name or in any form of its address."""
    address = literal_address(host)
    if address is None:
        return plain_host(host) in _METADATA_NAMES
    return any(address in network for network in _METADATA_NETWORKS)


def hosts_of(url: str) -> list[str]:
    """Return the hosts in a URL; several are separated by commas, as in Pulsar's. Empty if none can be read."""
    try:
        listed = urlsplit(url).netloc.rpartition("@")[2].split(",")
        return [host for part in listed if (host := urlsplit(f"//{part}").hostname)]
    except ValueError:
        return []


def _short(secrets: Mapping[str, Secret]) -> Iterator[str]:
    for name in SIGNING:
        size = len(secrets[name].reveal().encode("utf-8", "surrogatepass"))
        if 0 < size < MIN_SECRET_BYTES:
            yield f"{name} has {size} bytes, and signing needs {MIN_SECRET_BYTES}: set a longer one, made at random"


def _equal(secrets: Mapping[str, Secret]) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, secret in secrets.items():
        if secret and (other := first.setdefault(secret.reveal(), name)) != name:
            yield f"{other} and {name} have the same value: give each a secret of its own"


def _unsafe(settings: Settings) -> Iterator[tuple[str, str]]:
    """Return variables that name a refused host, with the reason and the remedy."""
    for name in _URLS:
        if url := str(getattr(settings, name.lower())):
            yield from ((name, text) for text in _unsafe_url(name, url, has_token=bool(settings.broker_token)))
    for host in _listed(settings.fetch_hosts):
        if host.startswith("*.") and _is_public_suffix(host.removeprefix("*.")):
            yield "FETCH_HOSTS", f"lists {host}, under which anybody may have a host: name the hosts themselves"
        elif is_metadata(host.removeprefix("*.")):
            yield "FETCH_HOSTS", f"lists {host}, an address of a cloud's metadata: take it out"
    for host in _listed(settings.source_hosts):
        if is_metadata(host.removeprefix("*.")):
            yield "SOURCE_HOSTS", f"lists {host}, an address of a cloud's metadata: take it out"
    yield from _unsafe_private("FETCH_PRIVATE_HOSTS", settings.fetch_private_hosts)
    yield from _unsafe_private("SOURCE_PRIVATE_HOSTS", settings.source_private_hosts)


def _unsafe_private(name: str, pairs: str) -> Iterator[tuple[str, str]]:
    for pair in _listed(pairs):
        host, _, port = pair.rpartition(":")
        if is_metadata(host):
            yield name, f"lists {pair}, an address of a cloud's metadata: take it out"
        elif port != _HTTPS_PORT and not is_loopback(host):
            yield name, f"lists {pair}, which may speak plain http: use port {_HTTPS_PORT}"


def _unsafe_url(name: str, url: str, *, has_token: bool) -> Iterator[str]:
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        return
    hosts = hosts_of(url)
    if any(is_metadata(host) for host in hosts):
        yield "leads to an address of a cloud's metadata: set the true address"
    if hosts and all(is_loopback(host) for host in hosts):
        return
    if scheme == "http":
        tls = "pulsar+ssl:// or https://" if name == "BROKER_URL" else "https://"
        yield f"is plain http to another machine, which can be read on the way: use {tls}"
    elif scheme == "pulsar" and has_token:
        yield "is pulsar:// to another machine, and BROKER_TOKEN can be read on the way: use pulsar+ssl://"


def _is_public_suffix(name: str) -> bool:
    labels = plain_host(name).split(".")
    if len(labels) == 1:
        return True
    second, last = labels[-2:]
    return len(labels) == 2 and second in _REGISTRIES and len(last) == _COUNTRY_LETTERS  # noqa: PLR2004 - both labels


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
