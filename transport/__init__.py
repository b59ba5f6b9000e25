"""How messages travel: the port in `transport.port`, and adapters that are opened by URL and imported only then.

An adapter is a folder with a package variable `Options`, which names its struct of options, and one row here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Final
from urllib.parse import urlsplit

import msgspec

from transport.errors import BadBrokerUrl
from transport.port import Broker, BrokerOptions, Variables

__all__ = ["open_broker", "options_of"]


class _Adapter(msgspec.Struct, frozen=True):
    folder: str
    schemes: frozenset[str]
    form: str
    """Its URLs, as the remedy for a wrong one lists them."""


_ADAPTERS: Final = (
    _Adapter("sqlite", frozenset({"sqlite"}), "sqlite:///absolute/path/file.db or sqlite:///:memory:"),
    _Adapter("pulsar", frozenset({"pulsar", "pulsar+ssl", "http", "https"}), "pulsar://host:port"),
)


def options_of(url: str, variables: Variables) -> BrokerOptions:
    """The options of the broker that a URL names, each read by its adapter.

    Args:
        url: its scheme names the adapter.
        variables: value of a variable of the environment as it is now; empty where it is not set.

    Raises:
        transport.errors.BadBrokerUrl: no adapter opens such a URL, or its adapter cannot use it or another variable;
            the text names the remedy.
    """
    scheme = urlsplit(url).scheme
    found = next((adapter for adapter in _ADAPTERS if scheme in adapter.schemes), None)
    if found is None:
        forms = ", or ".join(adapter.form for adapter in _ADAPTERS)
        raise BadBrokerUrl(f"no broker is known by the URL scheme {scheme!r}: use {forms}")
    kind: type[BrokerOptions] = import_module(f"transport.{found.folder}").Options
    return kind.read(url, variables)


async def open_broker(options: BrokerOptions | str, *, clock: Callable[[], float] = time.time) -> Broker:
    """Open a broker.

    Args:
        options: of one adapter; or a URL, for that adapter's defaults.
        clock: wall time in seconds; due times and ages are counted by it.

    Raises:
        transport.errors.BadBrokerUrl: the options cannot be used; the text names the remedy.
        transport.errors.BrokerDown: the broker does not answer.
        transport.errors.BrokerUnauthorized: it does not take the token.
    """
    if isinstance(options, str):
        options = options_of(options, lambda _: "")
    return await options.open(clock)
