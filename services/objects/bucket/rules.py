"""The rules that the two buckets need. Pure.

Sources: COS, "PUT Bucket lifecycle" (document 436/8280) and "PUT Bucket cors" (436/8279). COS executes lifecycle rules
once a day, so an object may live almost two days longer than its rule says. Objects in an archive class cannot be read
before they are restored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

__all__ = [
    "CLASSES",
    "MAX_DAYS",
    "OURS",
    "CorsRule",
    "Keeping",
    "LifecycleRule",
    "Transition",
    "cors_rules",
    "data_rules",
    "ledger_rules",
]

OURS: Final = "scf-workers-"
"""Begin of the ids of the product's rules; a rule with another id is never changed."""

MAX_DAYS: Final = 3650
"""Most days of a lifecycle rule (COS, "PUT Bucket lifecycle")."""

CLASSES: Final = (
    "STANDARD_IA",
    "MAZ_STANDARD_IA",
    "INTELLIGENT_TIERING",
    "MAZ_INTELLIGENT_TIERING",
    "ARCHIVE",
    "DEEP_ARCHIVE",
)
"""Storage classes that an object can be moved to (COS, "Storage class overview", 436/33417)."""

_STAGING_DAYS: Final = 7
"""A task and its callbacks have ended long before: a callback is repeated for three days."""
_PARTS_DAYS: Final = 1
_TEXT_DAYS: Final = 30
_DONE_DAYS: Final = 400
"""Statistics look back a year (`tasks.lists.statistics.LONGEST_S`)."""
_SPEND_DAYS: Final = 3
_STATUS_DAYS: Final = 1
_PREFLIGHT_S: Final = 600


class Transition(msgspec.Struct, frozen=True):
    """A move to another storage class."""

    days: int
    """Days after its creation at which an object is moved."""
    storage_class: str
    """A name in `CLASSES`."""


class LifecycleRule(msgspec.Struct, frozen=True):
    """A rule that deletes, moves, or aborts uploads of, the objects below a prefix."""

    name: str
    prefix: str
    """Empty for the whole bucket."""
    delete_days: int = 0
    """Days after its creation at which an object is deleted; 0 for never."""
    transitions: tuple[Transition, ...] = ()
    abort_days: int = 0
    """Days after which an unfinished multipart upload is aborted; 0 for never."""

    def document(self) -> Mapping[str, Any]:
        """Return the rule as cos-python-sdk-v5 takes it."""
        document: dict[str, Any] = {
            "ID": f"{OURS}{self.name}",
            "Filter": {"Prefix": self.prefix},
            "Status": "Enabled",
        }
        if self.transitions:
            document["Transition"] = [
                {"Days": str(one.days), "StorageClass": one.storage_class} for one in self.transitions
            ]
        if self.delete_days:
            document["Expiration"] = {"Days": str(self.delete_days)}
        if self.abort_days:
            document["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": str(self.abort_days)}
        return document


class CorsRule(msgspec.Struct, frozen=True):
    """A rule that lets pages of some origins put and get objects, with presigned URLs."""

    name: str
    origins: tuple[str, ...]

    def document(self) -> Mapping[str, Any]:
        """Return the rule as cos-python-sdk-v5 takes it."""
        return {
            "ID": f"{OURS}{self.name}",
            "AllowedOrigin": list(self.origins),
            "AllowedMethod": ["PUT", "GET", "HEAD"],
            "AllowedHeader": ["*"],
            "ExposeHeader": ["ETag", "x-cos-request-id"],
            "MaxAgeSeconds": str(_PREFLIGHT_S),
        }


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """Lifetimes of objects, as the deployment wants them."""

    input_days: int = 30
    """Days that inputs stay: a replay needs them."""
    output_days: int = 0
    """Days that results stay; 0 for ever."""
    output_transitions: tuple[Transition, ...] = ()
    ledger_days: int = 90
    """Days that records and dead letters stay."""
    origins: tuple[str, ...] = ()
    """Origins whose pages upload and download."""


def data_rules(keeping: Keeping) -> Sequence[LifecycleRule]:
    """Return the lifecycle rules of the bucket of inputs and results."""
    rules = [
        LifecycleRule("staging", "staging/", _STAGING_DAYS),
        LifecycleRule("input", "input/", keeping.input_days),
        LifecycleRule("source", "source/", keeping.input_days),
        LifecycleRule("parts", "", abort_days=_PARTS_DAYS),
    ]
    if keeping.output_days or keeping.output_transitions:
        rules.append(LifecycleRule("output", "output/", keeping.output_days, keeping.output_transitions))
    return rules


def cors_rules(keeping: Keeping) -> Sequence[CorsRule]:
    """Return the CORS rules of the bucket of inputs and results: none where no page uploads."""
    return [CorsRule("browser", keeping.origins)] if keeping.origins else []


def ledger_rules(keeping: Keeping) -> Sequence[LifecycleRule]:
    """Return the lifecycle rules of the bucket of the ledger. Their prefixes are disjoint."""
    return (
        LifecycleRule("ledger", "ledger/", keeping.ledger_days),
        LifecycleRule("index", "index/", keeping.ledger_days),
        LifecycleRule("dead", "dead/", keeping.ledger_days),
        LifecycleRule("done", "done/", max(_DONE_DAYS, keeping.ledger_days)),
        LifecycleRule("cache", "cache/", _TEXT_DAYS),
        LifecycleRule("spend", "spend/", _SPEND_DAYS),
        LifecycleRule("status", "status/", _STATUS_DAYS),
        LifecycleRule("doctor", "doctor/", _STATUS_DAYS),
    )
