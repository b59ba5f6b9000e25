"""Setting up of the two buckets, and the checks that they are set up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from services.checks import Check
from services.errors import CheckFailed
from services.objects.bucket.difference import Change, Difference, Document, Section, compare, lost
from services.objects.bucket.port import BucketRules
from services.objects.bucket.rules import Keeping, cors_rules, data_rules, ledger_rules

__all__ = ["REMEDY", "Bucket", "BucketReport", "buckets_of", "rule_checks", "set_up"]

REMEDY: Final = "scf-workers cos setup"
"""Command that sets the rules."""


class Bucket(msgspec.Struct, frozen=True):
    """A bucket and the rules that it should have."""

    variable: str
    """Variable that names it."""
    name: str
    rules: BucketRules
    wanted: tuple[tuple[Section, tuple[Document, ...]], ...]


class BucketReport(msgspec.Struct, frozen=True):
    """The rules of a bucket that are, or were, to be changed."""

    variable: str
    bucket: str
    changes: tuple[Change, ...]
    kept: int
    """Number of the rules of others, which are never changed."""


def buckets_of(
    data: tuple[str, BucketRules], ledger: tuple[str, BucketRules], keeping: Keeping
) -> tuple[Bucket, Bucket]:
    """Return both buckets with the rules that they should have.

    Args:
        data: name and rules of the bucket of inputs and results.
        ledger: name and rules of the bucket of the ledger.
        keeping: how long objects are kept.
    """
    lifecycle = tuple(rule.document() for rule in data_rules(keeping))
    cors = tuple(rule.document() for rule in cors_rules(keeping))
    records = tuple(rule.document() for rule in ledger_rules(keeping))
    return (
        Bucket("COS_BUCKET", *data, ((Section.LIFECYCLE, lifecycle), (Section.CORS, cors))),
        Bucket("LEDGER_BUCKET", *ledger, ((Section.LIFECYCLE, records),)),
    )


async def set_up(bucket: Bucket, *, acts: bool) -> BucketReport:
    """Write the rules that are missing, different or no longer wanted; nothing is written where all is well.

    Args:
        bucket: the bucket.
        acts: False to compare only.

    Raises:
        services.errors.CheckFailed: the rules are not stored as they were written: another program changes them too.
        services.errors.ObjectsDown: COS did not answer, or refuses an action, which the text names.
    """
    reports: list[Difference] = []
    for section, wanted in bucket.wanted:
        found = compare(section, await bucket.rules.read(section), wanted)
        reports.append(found)
        if acts and found.changes:
            await bucket.rules.write(section, found.document)
            await _verify(bucket, section, wanted, found.document)
    changes = tuple(change for found in reports for change in found.changes)
    return BucketReport(bucket.variable, bucket.name, changes, sum(found.kept for found in reports))


def rule_checks(buckets: tuple[Bucket, Bucket]) -> tuple[Check, Check]:
    """Return the checks of both buckets' rules, in the order of `buckets_of`."""
    data, ledger = buckets
    return (
        Check("data bucket: rules", partial(_check, data), REMEDY, needs="data bucket"),
        Check("ledger: rules", partial(_check, ledger), REMEDY, needs="ledger: versioning"),
    )


async def _check(bucket: Bucket) -> str:
    report = await set_up(bucket, acts=False)
    if report.changes:
        raise CheckFailed("; ".join(map(_phrase, report.changes)), remedy=REMEDY)
    count = sum(len(wanted) for _, wanted in bucket.wanted)
    return f"{count} rules, and {report.kept} of others" if report.kept else f"{count} rules"


def _phrase(change: Change) -> str:
    match change.what:
        case "missing":
            return f"{change.rule} is missing ({change.wanted})"
        case "surplus":
            return f"{change.rule} is no longer wanted ({change.stored})"
        case "different":
            return f"{change.rule} is different ({change.stored}, not {change.wanted})"


async def _verify(bucket: Bucket, section: Section, wanted: Sequence[Document], written: Document) -> None:
    """Check that the whole document is stored: our rules, those of others, and other fields."""
    stored = await bucket.rules.read(section)
    ours = [_phrase(change) for change in compare(section, stored, wanted).changes]
    # Without a rule the whole section is deleted, with its other fields.
    gone = lost(section, written, stored) if written.get(section.value) else ()
    if wrong := [*ours, *(f"{what} is not stored as it was" for what in gone)]:
        raise CheckFailed(f"{bucket.name}: after the write {wrong[0]}: does another program set its rules?")
