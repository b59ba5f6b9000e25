"""The content audit: only pictures that pass it are shown, and only inputs that pass it are paid for."""

from __future__ import annotations

from collections.abc import Sequence

from messages.codes import Code
from messages.errors import Rejected
from services.objects.port import Result
from services.repeat import repeated
from tasks.context import Services
from telemetry.instruments import SpanName
from telemetry.tracing import span

__all__ = ["audited", "is_blocked"]


def is_blocked(result: Result, *, block_suspect: bool) -> bool:
    """Return True if a picture with this finding must not be shown, or paid for."""
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
