"""What a generation of RunningHub's interface is to the client: where its calls go, and how a look is read. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec

from services.vendors.port import JobStatus
from services.vendors.runninghub.answers import ApiResponse
from telemetry.secrets import Secret

__all__ = ["ApiCall", "Ask", "Generation", "cancel", "webhook_detail"]


class ApiCall(msgspec.Struct, frozen=True):
    """One request. Its body may hold the key: neither is it logged nor shown."""

    path: str
    body: Mapping[str, object] | None = None
    """Sent as JSON; None makes the request a GET."""

    def __repr__(self) -> str:
        """The path alone."""
        return f"ApiCall({self.path!r})"


Ask = Callable[[ApiCall], Awaitable[ApiResponse]]
"""Makes a call over a pooled connection."""


class Generation(Protocol):
    """What differs between v1 and v2; all else is the client's."""

    def room(self) -> ApiCall:
        """A look at the queue, or what comes next to it."""
        ...

    def upload(self) -> tuple[str, Mapping[str, str]]:
        """Path of an upload, and the form's fields beside the file."""
        ...

    def create(self, workflow_id: str, order: Mapping[str, object]) -> ApiCall:
        """The paid call.

        Args:
            workflow_id: what is run.
            order: what both generations write alike.
        """
        ...

    async def query(self, ask: Ask, job_id: str, outputs: AbstractSet[str]) -> JobStatus:
        """Look at a job.

        Args:
            ask: makes a call.
            job_id: the job.
            outputs: ids of the nodes whose files are results; empty for all.

        Raises:
            services.errors.VendorDown: no usable answer.
        """
        ...


def cancel(key: Secret, job_id: str) -> ApiCall:
    """Stop a job: v1's call for both, v2 has none (docs/reference/vendors.md)."""
    return ApiCall("/task/openapi/cancel", {"apiKey": key.reveal(), "taskId": job_id})


def webhook_detail(key: Secret, job_id: str) -> ApiCall:
    """What was sent to a job's webhook, and where to: v1's call for both, v2 has none (docs/reference/vendors.md)."""
    return ApiCall("/task/openapi/getWebhookDetail", {"apiKey": key.reveal(), "taskId": job_id})
