"""Version 2 of RunningHub's interface: paths under `/openapi/v2/`, key in the header (docs/reference/vendors.md)."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from urllib.parse import quote

from services.vendors.port import JobStatus
from services.vendors.runninghub import answers
from services.vendors.runninghub.calls import ApiCall, Ask

__all__ = ["V2"]


class V2:
    """Implements `services.vendors.runninghub.calls.Generation`."""

    def room(self) -> ApiCall:
        """See the protocol. The answer has the key's limit, and its running and queued jobs."""
        return ApiCall("/openapi/v2/queue/status")

    def upload(self) -> tuple[str, Mapping[str, str]]:
        """See the protocol."""
        return "/openapi/v2/media/upload/binary", {}

    def create(self, workflow_id: str, order: Mapping[str, object]) -> ApiCall:
        """See the protocol."""
        return ApiCall(f"/openapi/v2/run/workflow/{quote(workflow_id, safe='')}", order)

    async def query(self, ask: Ask, job_id: str, outputs: AbstractSet[str]) -> JobStatus:
        """See the protocol."""
        return answers.job_status(await ask(ApiCall("/openapi/v2/query", {"taskId": job_id})), outputs)
