"""A sale by the backend: the purchase, and the answer. Pure; `services.backend` sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from messages.errors import InvalidKey
from messages.keys import check_id
from messages.reasons import reason_of
from services.errors import BackendDown, NotSold

__all__ = ["SALES_PATH", "Purchase", "Sold", "read_sale"]

SALES_PATH: Final = "/api/internal/tasks"
"""Path to which the API posts a user's purchase."""

_SUCCESS: Final = range(200, 300)

_REFUSALS: Final[Mapping[int, str]] = {
    402: "no quota is left",
    409: "the backend does not sell it now",
    422: "the idempotency key was used for something else",
    429: "the backend limits this user",
}
"""Status -> its meaning. Another status is an outage, or a defect."""


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase of one task, as it is sent."""

    user: str
    kind: str
    params: Mapping[str, Any]
    inputs: int
    """Number of inputs that the task may have."""
    idempotency_key: str
    """Names the purchase: the same one from the same user is one task, and is charged once."""
    request_digest: str
    """Digest of everything that was asked for. Another one under the same key is refused."""


class Sold(msgspec.Struct, frozen=True):
    """A task that the backend has sold."""

    task_id: str
    ticket: str


def read_sale(status: int, body: bytes, retry_after: float | None) -> Sold | None:
    """Return the task in an answer; None for an answer that neither sells nor refuses.

    Args:
        status: HTTP status of the answer.
        body: of the answer.
        retry_after: seconds it asks to wait, if it does.

    Raises:
        services.errors.NotSold: it refuses.
        services.errors.BackendDown: it sells, but cannot be read, or its task id is not safe in keys.
    """
    if why := _REFUSALS.get(status):
        raise NotSold(why, status=status, retry_after=retry_after)
    if status not in _SUCCESS:
        return None
    try:
        sold = msgspec.json.decode(body, type=Sold)
        check_id(sold.task_id, "the backend's task_id")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidKey) as error:
        raise BackendDown(f"unreadable answer to a purchase: {reason_of(error)}", unreadable=True) from error
    return sold
