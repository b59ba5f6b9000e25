"""What a connection is made of."""

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
_FORM: Final = "a Pulsar URL is pulsar://, pulsar+ssl://, http:// or https://, then host:port, and nothing else"


class PulsarOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker is, and who we are there."""

    clock: ClassVar[Clock] = Clock.SERVER
    remedy: ClassVar[str] = (
        "BROKER_URL, BROKER_TENANT, BROKER_NAMESPACE, BROKER_TOKEN: does the broker run, and may we publish and"
        " consume?"
    )

    url: str
    """`pulsar://`, `pulsar+ssl://`, or `http(s)://` for lookups over HTTP, as TDMQ's access addresses are."""
    token: Callable[[], str] | None = None
    """Gives the token as it is now; asked at every connection and whenever the broker asks again."""
    tenant: str = "public"
    """The cluster's id on TDMQ, such as `pulsar-xxxx`."""
    namespace: str = "default"
    admin_url: str = ""
    """Base URL of the admin interface, for backlogs; empty where there is none, as on TDMQ."""
    tls_ca: str = ""
    """PEM file of the authorities that TLS is verified with; empty takes the usual ones."""
    operation_timeout: int = 10
    """Seconds after which opening a topic fails."""
    send_timeout: float = 30.0
    """Seconds to wait for a receipt; messages are kept while the broker is away."""

    @classmethod
    def read(cls, url: str, variables: Variables) -> Self:
        """The options in an environment; see the port. A token is read again whenever it is needed."""
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
        """Connect; see the port."""
        from transport.pulsar.broker import PulsarBroker

        return await PulsarBroker.open(self, clock=clock)

    def checks(self) -> Sequence[BrokerCheck]:
        """Whether messages travel, every topic lets us in, and the admin interface belongs to this broker."""
        from transport.checks import backlog, round_trip, topics

        return (
            BrokerCheck("broker", round_trip, self.remedy),
            BrokerCheck(
                "topics",
                topics,
                "make the topic and its subscription, and let this token consume: docs/how-to/run-on-pulsar.md",
            ),
            BrokerCheck(
                "backlog",
                backlog,
                "BROKER_ADMIN_URL must be the admin interface of BROKER_URL's broker; or leave it empty",
            ),
        )

    def check(self) -> None:
        """Refuse what cannot be opened.

        Raises:
            transport.errors.BadBrokerUrl: the text names the remedy.
        """
        hosts_of(self.url)
        for name, value in (("BROKER_TENANT", self.tenant), ("BROKER_NAMESPACE", self.namespace)):
            if not _NAME.match(value):
                raise BadBrokerUrl(f"{name} is {value!r}: letters, digits and _ . = : - only")

    def path(self, topic: str) -> str:
        """The topic's full name."""
        return f"persistent://{self.tenant}/{self.namespace}/{topic}"

    @property
    def is_http(self) -> bool:
        """Whether lookups go over HTTP."""
        return self.url.startswith("http")

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme in {"pulsar+ssl", "https"}


def hosts_of(url: str) -> list[tuple[str, int]]:
    """The hosts and ports in a URL; several are separated by commas.

    Raises:
        transport.errors.BadBrokerUrl: it is none of ours.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.netloc or "@" in parts.netloc:
        raise BadBrokerUrl(_FORM)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise BadBrokerUrl(_FORM)
    return [_host(part, _PORTS[parts.scheme]) for part in parts.netloc.split(",")]


def _host(text: str, default: int) -> tuple[str, int]:
    try:
        one = urlsplit(f"//{text}")
        host, port = one.hostname, one.port or default
    except ValueError as error:
        raise BadBrokerUrl(_FORM) from error
    if not host:
        raise BadBrokerUrl(_FORM)
    return host, port
