"""Rules of a bucket in memory."""

from __future__ import annotations

from typing import Any

from services.objects.bucket.difference import Document, Section, compare
from services.objects.bucket.port import BucketRules
from services.objects.bucket.rules import Keeping
from services.objects.bucket.setup import Bucket, buckets_of


class MemoryRules(BucketRules):
    def __init__(self, stored: dict[Section, Document] | None = None) -> None:
        self.stored = dict(stored or {})
        self.written: list[Section] = []

    async def read(self, section: Section) -> Document:
        return self.stored.get(section, {})

    async def write(self, section: Section, document: Document) -> None:
        self.written.append(section)
        self.stored[section] = document if document[section.value] else {}

    async def close(self) -> None:
        pass


def sound_buckets(keeping: Keeping | None = None) -> tuple[Bucket, Bucket]:
    """Both buckets, with the rules that they should have."""
    found: Any = buckets_of(
        ("data-1250000000", MemoryRules()), ("ledger-1250000000", MemoryRules()), keeping or Keeping()
    )
    for bucket in found:
        for section, wanted in bucket.wanted:
            bucket.rules.stored[section] = compare(section, {}, wanted).document
    return found
