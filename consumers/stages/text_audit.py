"""The content audit of texts: only a text that passes it is shown, or paid for."""

from __future__ import annotations

from consumers.stages.audit import is_blocked
from messages.codes import Code
from messages.errors import Rejected
from services.repeat import repeated
from tasks.context import Services
from telemetry.instruments import SpanName
from telemetry.tracing import span

__all__ = ["audited_text"]


async def audited_text(text: str, services: Services, *, block_suspect: bool) -> None:
    """Audit a text; an empty one passes.

    Args:
        text: the text.
        services: the bundle of services.
        block_suspect: whether a suspect text is blocked.

    Raises:
        messages.errors.Rejected: it is blocked (内容违规).
        services.errors.AuditDown: the audit gave no finding.
    """
    if not text:
        return
    with span(SpanName.AUDIT, texts=1):
        found = await repeated(lambda: services.objects.audit_text(text), services.rng)
    if is_blocked(found, block_suspect=block_suspect):
        raise Rejected(f"the audit found {found.label} in a text", code=Code.CONTENT_VIOLATION)
