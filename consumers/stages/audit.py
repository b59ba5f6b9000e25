"""The content audit: only pictures and texts that pass it are shown, and only those that pass it are paid for."""

from __future__ import annotations

from collections.abc import Sequence

from messages.codes import Code
from messages.errors import Rejected
from services.objects.port import Result
from services.repeat import repeated
from tasks.context import Services
from telemetry.instruments import SpanName
from telemetry.tracing import span

__all__ = ["audited", "audited_text", "is_blocked"]


def is_blocked(result: Result, *, block_suspect: bool) -> bool:
    """Return True if a picture or text with this finding must not be shown, or paid for."""
    return result.violation or (result.suspect and block_suspect)


async def audited(keys: Sequence[str], services: Services, *, block_suspect: bool | None = None) -> None:
    """Audit every picture, in one batch.

    Args:
        keys: keys of the pictures.
        services: the bundle of services.
        block_suspect: whether a suspect picture is blocked; None: as the deployment decides for results.

    Raises:
        messages.errors.Rejected: one of them is blocked (内容违规).
    """
    block = services.policy.block_suspect if block_suspect is None else block_suspect
    with span(SpanName.AUDIT, pictures=len(keys)):
        audits = await repeated(lambda: services.objects.audit(keys), services.rng)
    for audit in audits:
        if is_blocked(audit.result, block_suspect=block):
            raise Rejected(f"the audit found {audit.result.label} in {audit.key}", code=Code.CONTENT_VIOLATION)


async def audited_text(text: str, services: Services, *, block_suspect: bool | None = None) -> None:
    """Audit a text; an empty one passes.

    Args:
        text: the text.
        services: the bundle of services.
        block_suspect: whether a suspect text is blocked; None: as the deployment decides for results.

    Raises:
        messages.errors.Rejected: it is blocked (内容违规).
        services.errors.AuditDown: the audit gave no finding.
    """
    if not text:
        return
    block = services.policy.block_suspect if block_suspect is None else block_suspect
    with span(SpanName.AUDIT, texts=1):
        found = await repeated(lambda: services.objects.audit_text(text), services.rng)
    if is_blocked(found, block_suspect=block):
        raise Rejected(f"the audit found {found.label} in a text", code=Code.CONTENT_VIOLATION)
