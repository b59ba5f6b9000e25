"""Check of addresses that URLs from outside may lead to. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

__all__ = ["is_public", "may_be_private"]

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
