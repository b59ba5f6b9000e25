"""Version 1 of RunningHub's interface (docs/reference/vendors.md).

Its paths begin with `/task/openapi/`, its answers are wrapped in an envelope, and its requests hold the key in their
body. The client also sends the key in the header, as for v2: v1 accepts it there, and wallet keys reportedly
only there.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from services.vendors.port import JobStatus
from services.vendors.runninghub import answers
from services.vendors.runninghub.calls import ApiCall, Ask
from telemetry.secrets import Secret

__all__ = ["V1"]


class V1:
    """Implements `services.vendors.runninghub.calls.Generation`.

    Args:
        key: the account's.
    """

    def __init__(self, key: Secret) -> None:
        self._key = key

    def room(self) -> ApiCall:
        """See the protocol. The account has no limit field, so this shows a key that is refused, never a full queue."""
        # Lower-case k: so it is documented.
        return ApiCall("/uc/openapi/accountStatus", {"apikey": self._key.reveal()})

    def upload(self) -> tuple[str, Mapping[str, str]]:
        """See the protocol."""
        return "/task/openapi/upload", {"apiKey": self._key.reveal(), "fileType": "input"}

    def create(self, workflow_id: str, order: Mapping[str, object]) -> ApiCall:
        """See the protocol."""
        return ApiCall("/task/openapi/create", {"apiKey": self._key.reveal(), "workflowId": workflow_id, **order})

    async def query(self, ask: Ask, job_id: str, outputs: AbstractSet[str]) -> JobStatus:
        """See the protocol. The call `status` is made only if the answer to `outputs` does not decide."""
        body = {"apiKey": self._key.reveal(), "taskId": job_id}
        reply = await ask(ApiCall("/task/openapi/outputs", body))
        status = answers.job_outputs(reply, outputs)
        if status is not None:
            return status
        return answers.job_state(reply, await ask(ApiCall("/task/openapi/status", body)))
