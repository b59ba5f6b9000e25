"""The vendors of a machine: for each its clients, one for each key, found by name and by the label of a call's key.

A label names an account. A key leaves in two steps: first its label is draining, so that its jobs are looked at and
cancelled but no call is made with it; once the longest deadline has passed it may be taken out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from services.vendors.port import Vendor, VendorKey, key_of

__all__ = ["Vendors", "choose_key"]


def choose_key(keys: Collection[VendorKey], turn: int, taken: Collection[VendorKey]) -> VendorKey | None:
    """Return the key of the next paid call: in turn, those passed over that cannot take one. Pure.

    Args:
        keys: of the vendor.
        turn: number of the choice; each is one more than the one before.
        taken: keys that rest, or have all the calls that they may have.
    """
    ordered = sorted(keys)
    first = turn % len(ordered) if ordered else 0
    return next((key for key in (*ordered[first:], *ordered[:first]) if key not in taken), None)


class Vendors:
    """Clients of vendors.

    Args:
        clients: one for each key. It may be a live view.
        draining: keys that make no new calls.
        shares: vendor -> paid calls that this process may make at once with one key; no entry for no limit.
    """

    def __init__(
        self,
        clients: Collection[Vendor] = (),
        *,
        draining: Collection[VendorKey] = (),
        shares: Mapping[str, int] | None = None,
    ) -> None:
        self.clients = clients
        self._draining = frozenset(draining)
        self._shares = dict(shares or {})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the vendors, sorted."""
        return tuple(sorted({client.name for client in self.clients}))

    def all(self, name: str) -> tuple[Vendor, ...]:
        """Return the clients of a vendor; empty if no key of it is here."""
        return tuple(client for client in self.clients if client.name == name)

    def of(self, name: str, label: str = "") -> Vendor | None:
        """Return the client of a vendor with the key of a label, or with any for none; None if it is not here."""
        return next((client for client in self.all(name) if label in {"", client.label}), None)

    def keys(self, name: str) -> tuple[VendorKey, ...]:
        """Return the keys of a vendor that may make new calls."""
        return tuple(key for key in map(key_of, self.all(name)) if key not in self._draining)

    def draining(self, name: str) -> tuple[VendorKey, ...]:
        """Return the keys of a vendor that make no new calls."""
        return tuple(key for key in map(key_of, self.all(name)) if key in self._draining)

    def share(self, name: str) -> int | None:
        """Return the paid calls that this process may make at once with one key; None for no limit."""
        return self._shares.get(name)

    def permits(self, name: str) -> int | None:
        """Return the paid calls that this process may make at once with all keys of a vendor; None for no limit."""
        share = self.share(name)
        return None if share is None else share * len(self.keys(name))
