"""Message transport: the broker port (`transport.port`) and its adapters, each imported only when its URL is used.

An adapter is a package with a variable `Options` (its struct of options) and a row in `_ADAPTERS` below.
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
    """Forms of its URLs, for the error about an unknown URL."""


_ADAPTERS: Final = (
    _Adapter("sqlite", frozenset({"sqlite"}), "sqlite:///absolute/path/file.db or sqlite:///:memory:"),
    _Adapter("pulsar", frozenset({"pulsar", "pulsar+ssl", "http", "https"}), "pulsar://host:port"),
)


def options_of(url: str, variables: Variables) -> BrokerOptions:
    """Read the options of the broker that a URL names.

    Args:
        url: its scheme selects the adapter.
        variables: returns the current value of an environment variable, or "" if it is not set.

    Raises:
        transport.errors.BadBrokerUrl: no adapter has this scheme, or the URL or a variable is invalid; the text names
            the remedy.
    """
    scheme = urlsplit(url).scheme
    found = next((adapter for adapter in _ADAPTERS if scheme in adapter.schemes), None)
    if found is None:
        forms = ", or ".join(adapter.form for adapter in _ADAPTERS)
        raise BadBrokerUrl(f"no broker has the URL scheme {scheme!r}: use {forms}")
    kind: type[BrokerOptions] = import_module(f"transport.{found.folder}").Options
    return kind.read(url, variables)


async def open_broker(options: BrokerOptions | str, *, clock: Callable[[], float] = time.time) -> Broker:
    """Open a broker.

    Args:
        options: options of an adapter, or a URL to use that adapter's defaults.
        clock: returns the wall time in seconds, for due times and ages.

    Raises:
        transport.errors.BadBrokerUrl: the options are invalid; the text names the remedy.
        transport.errors.BrokerDown: the broker does not answer.
        transport.errors.BrokerUnauthorized: the broker rejects the token.
    """
    if isinstance(options, str):
        options = options_of(options, lambda _: "")
    return await options.open(clock)
