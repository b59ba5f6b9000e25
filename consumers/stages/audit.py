"""The content audit of staged results: only results that pass it are shown."""

from __future__ import annotations

from collections.abc import Sequence

from messages.codes import Code
from messages.errors import Rejected
from services.objects.port import Result
from tasks.context import Services
from telemetry.instruments import SpanName
from telemetry.tracing import span

__all__ = ["audited", "is_blocked"]


def is_blocked(result: Result, *, block_suspect: bool) -> bool:
    """Return True if a picture with this finding must not be shown."""
    return result.violation or (result.suspect and block_suspect)


async def audited(keys: Sequence[str], services: Services) -> None:
    """Audit every picture, in one batch.

    Raises:
        messages.errors.Rejected: one of them must not be shown (内容违规).
    """
    with span(SpanName.AUDIT, pictures=len(keys)):
        audits = await services.objects.audit(keys)
    for audit in audits:
        if is_blocked(audit.result, block_suspect=services.policy.block_suspect):
            raise Rejected(f"the audit found {audit.result.label} in {audit.key}", code=Code.CONTENT_VIOLATION)
