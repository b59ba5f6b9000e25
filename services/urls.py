"""Form of URLs that may be fetched: scheme, host, port and characters. Pure; `services.fetch` checks the addresses."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from services.addresses import is_public, is_public_name, literal_address
from services.errors import FetchRefused

__all__ = ["UNSAFE", "URL_SAFE", "HostRules", "Target", "check_url"]

URL_SAFE: Final = "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"
"""Characters that stay in a URL; all others are percent-encoded, as browsers do."""
UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f\\]")
"""Characters that parsers disagree about."""

_HTTPS_PORT: Final = 443
_URL_MAX: Final = 8192
_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")


class HostRules(NamedTuple):
    """Hosts that URLs may lead to, all in lower case."""

    allowed: frozenset[str]
    """Exact names, or `*.suffix` for any name below it."""
    private: frozenset[str] = frozenset()
    """`host:port` pairs that are allowed too, may have private addresses, and (save with port 443) may speak plain
    http."""
    any_public: bool = False
    """True if every host is allowed whose addresses are public."""

    def allows(self, host: str) -> bool:
        """Return True if a host is allowed on the usual port."""
        labels = host.split(".")
        above = (f"*.{'.'.join(labels[cut:])}" for cut in range(1, len(labels)))
        return self.any_public or host in self.allowed or any(pattern in self.allowed for pattern in above)


class Target(NamedTuple):
    """Parts of a URL that may be fetched."""

    scheme: str
    host: str
    port: int
    path: str
    """Path and query, percent-encoded."""
    private: bool
    """May be fetched from a private address, and without TLS."""

    @property
    def authority(self) -> str:
        """Host and port as in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = _HTTPS_PORT if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


def check_url(url: str, rules: HostRules) -> Target:
    """Return the parts of a URL that may be fetched.

    Args:
        url: the whole URL; what must be percent-encoded in it and is not, gets so.
        rules: hosts that are allowed.

    Raises:
        services.errors.FetchRefused: scheme, credentials, host, port, an address that is not public, or characters that
            parsers disagree about.
    """
    url = url.strip(" ")
    if len(url) > _URL_MAX or UNSAFE.search(url):
        raise FetchRefused("no URL that can be fetched")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
        path = quote(parts.path or "/", safe=URL_SAFE)
        query = quote(parts.query, safe=URL_SAFE)
    except ValueError:
        raise FetchRefused("no URL that can be fetched") from None
    bracketed = "[" in parts.netloc and ":" not in host
    if "@" in parts.netloc or parts.scheme not in {"https", "http"} or bracketed or not _HOST.fullmatch(host):
        raise FetchRefused("not an https URL, or one with credentials")
    if port is None:
        port = _HTTPS_PORT if parts.scheme == "https" else 80
    private = f"{host}:{port}" in rules.private
    if parts.scheme != "https" and not (private and port != _HTTPS_PORT):
        raise FetchRefused(f"not https: {host}")
    if not private:
        _check_public(host, port, rules)
    return Target(parts.scheme, host, port, path + (f"?{query}" if query else ""), private)


def _check_public(host: str, port: int, rules: HostRules) -> None:
    if port != _HTTPS_PORT:
        raise FetchRefused(f"not https on port {_HTTPS_PORT}: {host}")
    if not rules.allows(host):
        raise FetchRefused(f"not an allowed host: {host}")
    address = literal_address(host)
    if address is not None:
        if not is_public(host if ":" in host else str(address)):
            raise FetchRefused(f"not a public address: {host}")
    elif rules.any_public and not is_public_name(host):
        raise FetchRefused(f"not a public name: {host}")
