"""Output of the commands `scf-workers cos …`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from console.cli.terminal import say
from services.objects.bucket.difference import Change
from services.objects.bucket.setup import BucketReport

__all__ = ["setup_document", "show_setup"]

_MARKS: Final = {"missing": "+", "different": "~", "surplus": "-"}


def setup_document(reports: Sequence[BucketReport], *, acts: bool) -> Mapping[str, Any]:
    """Return the reports as `--json` prints them."""
    return {
        "dry_run": not acts,
        "changes": sum(len(report.changes) for report in reports),
        "buckets": msgspec.to_builtins(list(reports)),
    }


def show_setup(reports: Sequence[BucketReport], *, acts: bool) -> None:
    """Print the rules that were, or would be, changed, one line each."""
    for report in reports:
        kept = f"; rules of others, which are kept: {report.kept}" if report.kept else ""
        if not report.changes:
            say(f"{report.variable} {report.bucket}: as it should be{kept}")
            continue
        say(f"{report.variable} {report.bucket}: {'changed' if acts else 'to be changed'}{kept}")
        width = max(len(change.rule) for change in report.changes)
        for change in report.changes:
            say(f"  {_MARKS[change.what]} {change.rule:{width}}  {_text(change, acts=acts)}")


def _text(change: Change, *, acts: bool) -> str:
    if change.what == "different":
        return f"{change.wanted}  ({'it was' if acts else 'it is'} {change.stored})"
    return change.wanted or change.stored
