"""Check of hosts and addresses that URLs from outside may lead to. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from typing import Final

__all__ = ["is_public", "is_public_name", "literal_address", "may_be_private", "plain_host"]

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_SPECIAL: Final = tuple(
    map(
        ipaddress.ip_network,
        # RFC 6890 and its registries, where `is_global` of Python 3.11 is too kind: IETF assignments, 6to4 relays;
        # Teredo and its neighbours, documentation, 6to4. The last three of v6 can carry a private v4 address inside.
        ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        # Where clouds give out a machine's credentials: Tencent Cloud's two names for it, the others' common one,
        # Alibaba Cloud, and the common one's v6. COS inside Tencent Cloud has other addresses of 169.254.0.0/16.
        ("169.254.0.23", "169.254.10.10", "169.254.169.254", "100.100.100.200", "fd00:ec2::254"),
    )
)


_LOCAL_NAMES: Final = ("localhost", "local", "internal", "home.arpa", "metadata.tencentyun.com")
"""Ends of names that only a machine or its network knows: RFC 6761, RFC 6762, `internal` (ICANN, 2024), RFC 8375, and
the name of Tencent Cloud's metadata service."""

_NAME_MAX: Final = 253
_LABEL: Final = re.compile(r"[^.]{1,63}")


def is_public_name(host: str) -> bool:
    """Return True if a name may be known to the public: it has a domain, and not one of a local network.

    No name of the public has a number as its last label (RFC 3696, section 2), an empty label, or a longer one than the
    system of names allows (RFC 1035, section 2.3.4).
    """
    plain = plain_host(host)
    labels = plain.split(".")
    if len(labels) < 2 or len(plain) > _NAME_MAX or labels[-1].isdecimal():  # noqa: PLR2004 - a name and its domain
        return False
    if any(plain == name or plain.endswith(f".{name}") for name in _LOCAL_NAMES):
        return False
    return all(map(_LABEL.fullmatch, labels))


def is_public(address: str) -> bool:
    """Return whether an address, as text, is public: not private, local, mapped, shared or reserved."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address):
        inside = known in _GLOBAL_UNICAST and known.scope_id is None
    else:
        inside = known.is_global and not known.is_multicast and not known.is_reserved
    return inside and not any(known in network for network in _SPECIAL)


def may_be_private(address: str) -> bool:
    """Return whether a host that may be private may have this address: no cloud's metadata service, no group."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    if known.is_multicast or known.is_unspecified or known in _METADATA:
        return False
    return not (isinstance(known, ipaddress.IPv6Address) and (known.ipv4_mapped or known.scope_id is not None))


def plain_host(host: str) -> str:
    """Return a host as resolvers read it: lower case, without brackets and without a last dot."""
    return unicodedata.normalize("NFKC", host).strip("[]").rstrip(".").lower()


def literal_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is written as; None for a name.

    Every form counts that the system's resolver takes: 0xa9fea9fe, 0251.0376.0251.0376 and 2852039166 are all
    169.254.169.254. An IPv4 address inside an IPv6 one (`::ffff:…`) is returned as the former.
    """
    plain = plain_host(host)
    try:
        address = ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        try:
            # The system's function reads no further than a blank.
            return None if any(map(str.isspace, plain)) else ipaddress.IPv4Address(socket.inet_aton(plain))
        except (OSError, ValueError):
            return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
