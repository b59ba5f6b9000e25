"""The port to a bucket's rules."""

from __future__ import annotations

from typing import Protocol

from services.objects.bucket.difference import Document, Section

__all__ = ["BucketRules"]


class BucketRules(Protocol):
    """Rules of one bucket. COS replaces all rules of a section at once.

    Every method may raise `services.errors.ObjectsDown` and its `services.errors.Forbidden`, whose text names the
    action that the key lacks.
    """

    async def read(self, section: Section) -> Document:
        """Return the stored rules; empty where there are none."""
        ...

    async def write(self, section: Section, document: Document) -> None:
        """Replace the stored rules; a document without rules deletes the section."""
        ...

    async def close(self) -> None:
        """Drop the connections."""
        ...
