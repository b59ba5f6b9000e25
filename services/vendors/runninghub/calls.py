"""Protocol that covers what differs between the two generations of RunningHub's interface, v1 and v2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec

from services.vendors.http import ApiResponse
from services.vendors.port import JobStatus
from telemetry.secrets import Secret

__all__ = ["ApiCall", "Ask", "Generation", "cancel", "webhook_detail"]


class ApiCall(msgspec.Struct, frozen=True):
    """A request. Its body may hold the key: it is neither logged nor shown."""

    path: str
    body: Mapping[str, object] | None = None
    """Sent as JSON; None makes the request a GET."""

    def __repr__(self) -> str:
        """Show the path alone."""
        return f"ApiCall({self.path!r})"


Ask = Callable[[ApiCall], Awaitable[ApiResponse]]
"""Makes a call over a pooled connection."""


class Generation(Protocol):
    """Differences between v1 and v2; everything else is in the client."""

    def room(self) -> ApiCall:
        """Return the call that asks for the state of the queue, or the call that comes nearest to it."""
        ...

    def upload(self) -> tuple[str, Mapping[str, str]]:
        """Return the path of an upload, and the form's fields beside the file."""
        ...

    def create(self, workflow_id: str, order: Mapping[str, object]) -> ApiCall:
        """Return the paid call.

        Args:
            workflow_id: the workflow that is run.
            order: the part of the body that both generations share.
        """
        ...

    async def query(self, ask: Ask, job_id: str, outputs: AbstractSet[str]) -> JobStatus:
        """Ask for the state of a job.

        Args:
            ask: makes a call.
            job_id: the job.
            outputs: ids of the nodes whose files are results; empty for all.

        Raises:
            services.errors.VendorDown: no usable answer.
        """
        ...


def cancel(key: Secret, job_id: str) -> ApiCall:
    """Return the call that stops a job: v1's call for both, v2 has none (docs/reference/vendors.md)."""
    return ApiCall("/task/openapi/cancel", {"apiKey": key.reveal(), "taskId": job_id})


def webhook_detail(key: Secret, job_id: str) -> ApiCall:
    """Return the call for a job's webhook delivery: v1's call for both, v2 has none (docs/reference/vendors.md)."""
    return ApiCall("/task/openapi/getWebhookDetail", {"apiKey": key.reveal(), "taskId": job_id})
