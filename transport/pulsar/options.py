"""Options of the Pulsar adapter."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Self
from urllib.parse import urlsplit

import msgspec

from transport.errors import BadBrokerUrl
from transport.port import Broker, BrokerCheck, Clock, Variables

__all__ = ["PulsarOptions", "hosts_of"]

_PORTS: Final = {"pulsar": 6650, "pulsar+ssl": 6651, "http": 8080, "https": 8443}
_NAME: Final = re.compile(r"[A-Za-z0-9_.=:-]{1,128}\Z")
_FORM: Final = "a Pulsar URL must be pulsar://, pulsar+ssl://, http:// or https:// followed by host:port only"


class PulsarOptions(msgspec.Struct, frozen=True, kw_only=True):
    """URL, token, namespace and time-outs of a Pulsar connection."""

    clock: ClassVar[Clock] = Clock.SERVER
    remedy: ClassVar[str] = (
        "check that the broker runs and that BROKER_TOKEN may produce and consume (BROKER_URL, BROKER_TENANT,"
        " BROKER_NAMESPACE)"
    )

    url: str
    """`pulsar://`, `pulsar+ssl://`, or `http(s)://` for lookups over HTTP, the form of TDMQ's access addresses."""
    token: Callable[[], str] | None = None
    """Returns the current token; called at every connection and at every challenge of the broker."""
    tenant: str = "public"
    """Tenant; on TDMQ the cluster's id, such as `pulsar-xxxx`."""
    namespace: str = "default"
    admin_url: str = ""
    """Base URL of the admin interface, for backlogs; empty if there is none, as on TDMQ."""
    tls_ca: str = ""
    """PEM file of the CA certificates that verify TLS; empty for the default ones."""
    operation_timeout: int = 10
    """Seconds after which opening a topic fails."""
    send_timeout: float = 30.0
    """Seconds to wait for a receipt; the client keeps the message and retries while the broker is unreachable."""

    @classmethod
    def read(cls, url: str, variables: Variables) -> Self:
        """Read the options from the URL and the environment; see the port. The token is read again at each use."""
        options = cls(
            url=url,
            token=(lambda: variables("BROKER_TOKEN")) if variables("BROKER_TOKEN") else None,
            tenant=variables("BROKER_TENANT") or "public",
            namespace=variables("BROKER_NAMESPACE") or "default",
            admin_url=variables("BROKER_ADMIN_URL"),
            tls_ca=variables("BROKER_TLS_CA"),
        )
        options.check()
        return options

    async def open(self, clock: Callable[[], float]) -> Broker:
        """Connect to the broker; see the port."""
        from transport.pulsar.broker import PulsarBroker

        return await PulsarBroker.open(self, clock=clock)

    def checks(self) -> Sequence[BrokerCheck]:
        """List the checks: a message round trip, every topic's subscription, and the admin interface."""
        from transport.checks import backlog, round_trip, topics

        return (
            BrokerCheck("broker", round_trip, self.remedy),
            BrokerCheck(
                "topics",
                topics,
                "create the topic and its subscription, and allow this token to consume: docs/how-to/run-on-pulsar.md",
            ),
            BrokerCheck(
                "backlog",
                backlog,
                "set BROKER_ADMIN_URL to the admin interface of BROKER_URL's broker, or leave it empty",
                needs="topics",
            ),
        )

    def check(self) -> None:
        """Validate the URL, tenant and namespace.

        Raises:
            transport.errors.BadBrokerUrl: one of them is invalid; the text names the remedy.
        """
        hosts_of(self.url)
        for name, value in (("BROKER_TENANT", self.tenant), ("BROKER_NAMESPACE", self.namespace)):
            if not _NAME.match(value):
                raise BadBrokerUrl(f"{name} is {value!r}: use only letters, digits and _ . = : -")

    def path(self, topic: str) -> str:
        """Return the full name of a topic."""
        return f"persistent://{self.tenant}/{self.namespace}/{topic}"

    @property
    def address(self) -> str:
        """URL of the broker, without an admin interface; see the port."""
        return "" if self.admin_url else self.url

    @property
    def is_http(self) -> bool:
        """True if lookups use HTTP."""
        return self.url.startswith("http")

    @property
    def is_tls(self) -> bool:
        """True if the connection uses TLS."""
        return urlsplit(self.url).scheme in {"pulsar+ssl", "https"}


def hosts_of(url: str) -> list[tuple[str, int]]:
    """Return the hosts and ports in a URL; a URL may list several, separated by commas.

    Raises:
        transport.errors.BadBrokerUrl: the URL is not a Pulsar URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.netloc or "@" in parts.netloc:
        raise BadBrokerUrl(_FORM)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise BadBrokerUrl(_FORM)
    return [_host(part, _PORTS[parts.scheme]) for part in parts.netloc.split(",")]


def _host(text: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or default
    except ValueError as error:
        raise BadBrokerUrl(_FORM) from error
    if not host:
        raise BadBrokerUrl(_FORM)
    return host, port
