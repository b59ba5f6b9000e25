"""Rights of the policies in the docs, compared with the product's requests to its buckets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from messages.keys import INPUT_PREFIX
from tests.bad_input.harness import TicketHarness
from tests.engine.virtual import VirtualLoop

OBJECTS: Final = "qcs::cos:ap-guangzhou:uid/1250000000:"
PICTURES: Final = "qcs::ci:ap-guangzhou:uid/1250000000:bucket/"
DATA: Final = "data-1250000000"
LEDGER: Final = "ledger-1250000000"

ACTIONS: Final[Mapping[str, str]] = {
    "put": "name/cos:PutObject",
    "put_new": "name/cos:PutObject",
    "get": "name/cos:GetObject",
    "open": "name/cos:GetObject",
    "read": "name/cos:GetObject",
    "presign": "name/cos:GetObject",
    "process": "name/cos:GetObject",
    "head": "name/cos:HeadObject",
    "copy": "name/cos:PutObject",
    "delete": "name/cos:DeleteObject",
    "list": "name/cos:GetBucket",
    "audit": "ci:CreateAuditingPictureJob",
    "audit_text": "ci:CreateAuditingTextJob",
    "video_info": "name/cos:GetObject",
    "snapshot": "name/cos:GetObject",
    "submit_video_audit": "ci:CreateAuditingVideoJob",
    "submit_video_label": "ci:CreateMediaJobs",
    "video_label": "ci:DescribeMediaJobs",
    "video_audit": "ci:DescribeAuditingVideoJob",
    "versioned": "name/cos:GetBucketVersioning",
}
"""Operation of the port -> what it needs on its key. (Targets of pictures and sources of copies are in staging.)"""


class Used(NamedTuple):
    """Operations that were done."""

    bucket: str
    operation: str
    key: str


def allows(policies: Sequence[Any], used: Used) -> bool:
    action = ACTIONS[used.operation]
    stem = PICTURES if action.startswith("ci:") else OBJECTS
    resource = f"{stem}{used.bucket}/{used.key}"
    return any(
        statement["effect"] == "allow"
        and action in statement["action"]
        and any(fnmatchcase(resource, pattern) for pattern in statement["resource"])
        for policy in policies
        for statement in policy["statement"]
    )


def may_put(policy: Any, key: str, kind: str, size: int | None) -> bool:
    """True if a client's key may store an object so; `size` is None without a `Content-Length`.

    A condition without `_if_exist` is not met where the request has no such header (COS, condition keys, 436/71307).
    """

    def holds(conditions: Any) -> bool:
        types = conditions["string_equal"]["cos:content-type"]
        most = conditions["numeric_less_than_equal"]["cos:content-length"]
        return kind == types and size is not None and size <= most

    return any(
        statement["effect"] == "allow"
        and "name/cos:PutObject" in statement["action"]
        and any(fnmatchcase(f"{OBJECTS}{DATA}/{key}", pattern) for pattern in statement["resource"])
        and ("condition" not in statement or holds(statement["condition"]))
        for statement in policy["statement"]
    )


def note(used: set[Used], bucket: str) -> Callable[..., Awaitable[None]]:
    async def seen(operation: str, key: str, *, done: bool) -> None:
        if not done:
            used.add(Used(bucket, operation, key))

    return seen


def used_by(play: Callable[[TicketHarness], Awaitable[None]]) -> set[Used]:
    """Record every request of the product to its buckets."""
    used: set[Used] = set()

    async def watched() -> None:
        async with TicketHarness() as harness:
            harness.data.faults = note(used, DATA)
            harness.ledger.objects.faults = note(used, LEDGER)  # type: ignore[attr-defined] # a MemoryObjects
            await play(harness)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(watched())
    # The client's own.
    return {one for one in used if not (one.operation == "put" and one.key.startswith(INPUT_PREFIX))}
