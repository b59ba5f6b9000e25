"""Keys of vendors: a single one, and labelled ones beside it, with a deployment's settings for them.

    RUNNINGHUB_API_KEYS=second=KEY,third=KEY

Each is the label of an account and its key; commas or white space separate them. The settings of a vendor begin with
its name: `{VENDOR}_API_KEY` with `{VENDOR}_LABEL`, `{VENDOR}_API_KEYS`, `{VENDOR}_DRAINING`, `{VENDOR}_LIMIT` and
`{VENDOR}_DAILY_CALLS`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.errors import BadSettings
from services.vendors.port import VendorKey
from telemetry.secrets import Secret

if TYPE_CHECKING:
    from runtime.settings import Settings

__all__ = ["LabelledKey", "daily_calls_of", "draining_of", "keys_of", "labelled_keys", "share_of", "with_key"]

_SEPARATOR: Final = re.compile(r"[\s,]+")
_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class LabelledKey(msgspec.Struct, frozen=True):
    """A vendor's key with the label of its account."""

    vendor: str
    label: str
    secret: Secret

    @property
    def variable(self) -> str:
        """The variable that it comes from, with the label, for errors."""
        return f"{self.vendor.upper()}_API_KEYS ({self.label})"


def labelled_keys(settings: Settings) -> tuple[LabelledKey, ...]:
    """Return the keys of every vendor that come with a label of their own, in their order.

    Raises:
        BadSettings: an entry has not the form, a label is used twice, or a draining label names no key; the text never
            has a secret.
    """
    found: list[LabelledKey] = []
    for vendor in _vendors(settings):
        keys = _parsed(vendor, getattr(settings, f"{vendor}_api_keys"))
        found += keys
        labels = [key.label for key in keys]
        if getattr(settings, f"{vendor}_api_key"):
            labels.append(getattr(settings, f"{vendor}_label"))
        name = vendor.upper()
        if twice := sorted(label for label, count in Counter(labels).items() if count > 1):
            raise BadSettings(
                f"{name}_API_KEYS and {name}_LABEL use the label {twice[0]!r} twice: it names one account"
            )
        if strange := sorted(_listed(getattr(settings, f"{vendor}_draining")) - set(labels)):
            raise BadSettings(f"{name}_DRAINING names {strange[0]!r}, and there is no key with that label")
    return tuple(found)


def keys_of(settings: Settings, vendor: str) -> tuple[LabelledKey, ...]:
    """Return the keys of a vendor: the single one first."""
    single = getattr(settings, f"{vendor}_api_key")
    first = (LabelledKey(vendor, getattr(settings, f"{vendor}_label"), single),) if single else ()
    return (*first, *(key for key in labelled_keys(settings) if key.vendor == vendor))


def with_key(settings: Settings, key: LabelledKey) -> Settings:
    """Return the settings as if a key were the vendor's only one."""
    only = {f"{key.vendor}_api_key": key.secret, f"{key.vendor}_label": key.label}
    return msgspec.structs.replace(settings, **only)


def draining_of(settings: Settings) -> frozenset[VendorKey]:
    """Return the keys that make no new calls."""
    return frozenset(
        VendorKey(vendor, label)
        for vendor in _vendors(settings)
        for label in _listed(getattr(settings, f"{vendor}_draining"))
    )


def share_of(settings: Settings, vendor: str) -> int | None:
    """Return the paid calls that one process may make at once with one key: at least one; None for no limit."""
    limit: int = getattr(settings, f"{vendor}_limit", 0)
    return max(1, limit // settings.vendor_processes) if limit else None


def daily_calls_of(settings: Settings) -> dict[str, int]:
    """Return vendor -> its paid calls of a UTC day; no entry for no cap."""
    caps = {vendor: getattr(settings, f"{vendor}_daily_calls") for vendor in _named(settings, "_daily_calls")}
    return {vendor: cap for vendor, cap in caps.items() if cap}


def _vendors(settings: Settings) -> tuple[str, ...]:
    return _named(settings, "_api_keys")


def _named(settings: Settings, suffix: str) -> tuple[str, ...]:
    """Return the vendors that have a setting of this name."""
    return tuple(name.removesuffix(suffix) for name in settings.__struct_fields__ if name.endswith(suffix))


def _parsed(vendor: str, text: Secret) -> list[LabelledKey]:
    found: list[LabelledKey] = []
    for number, entry in enumerate(filter(None, _SEPARATOR.split(text.reveal())), 1):
        label, _, secret = entry.partition("=")
        if not _LABEL.fullmatch(label) or not secret:
            form = "label=key, the label of up to 32 of a-z, 0-9, _ and -"
            raise BadSettings(f"entry {number} of {vendor.upper()}_API_KEYS must be {form}")
        found.append(LabelledKey(vendor, label, Secret(secret)))
    return found


def _listed(text: str) -> frozenset[str]:
    return frozenset(label.strip() for label in text.split(",") if label.strip())
