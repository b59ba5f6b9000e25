"""How a task ended, and what to do about it, in the words of whoever submitted it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from messages.codes import Code, code_of, text_of
from tasks.ledger.records import Verdict

__all__ = ["tell_ending"]

_REFUSED: Final = "look for task.refused, ticket.refused and upload.failed in the log of producer.cos_trigger"
_TICKET: Final = (
    "the secret that the backend signs tickets with must be the workers' TICKET_SECRET; look for ticket.refused"
)
_VENDOR: Final = "the workers' log tells what the vendor answered"
_WHERE: Final = "the workers' log tells why, and so may its dead letter"

_REMEDIES: Final[Mapping[Code, str]] = {
    Code.TIMEOUT: "its deadline passed: see that `scf-workers work` runs and that the vendor answers",
    Code.NOT_UPLOADED: "upload within UPLOAD_LIMIT_S of buying",
    Code.CANCELLED: "somebody cancelled it: buy it again",
    Code.CONTENT_VIOLATION: "the audit took exception to a result: take another photo",
    Code.BAD_PICTURE: "take a photo that is a JPG, PNG or WebP; what its name says does not count",
    Code.PICTURE_TOO_LARGE: "make the photo smaller: 32 MB and 250 million pixels at most",
    Code.EMPTY_FILE: "take a photo that is not empty",
    Code.INPUT_CHANGED: "submit it again, and leave the upload alone while it is worked on",
    Code.BAD_PARAMETERS: "correct --params; task.refused in the log of producer.cos_trigger names the field",
    Code.UNKNOWN_KIND: "take a --kind that the workers know, or let them run this build",
    Code.INVALID_ID: "take a --user that can be an id",
    Code.TICKET_MISSING: "upload with the ticket that was bought; look for ticket.refused in the log",
    Code.TICKET_INVALID: _TICKET,
    Code.TICKET_EXPIRED: "upload before the ticket expires, and compare the clocks of backend and workers",
    Code.VENDOR_FAILED: _VENDOR,
    Code.VENDOR_REFUSED: _VENDOR,
    Code.VENDOR_UNKNOWN: f"it may have been paid for, so it is not repeated; {_VENDOR}",
    Code.INCOMPLETE_RESULTS: _VENDOR,
    Code.BUSY: _WHERE,
    Code.UNREADABLE: _WHERE,
    Code.INTERNAL: _WHERE,
}
"""Code -> what helps."""


def tell_ending(status: str, verdict: Verdict | None, progress: str, waited_s: float) -> tuple[str, str]:
    """What a task that brought no results came to, and what to do.

    Args:
        status: the backend's word; `pending` when it was waited for in vain.
        verdict: the ledger's, if there is one.
        progress: how far the ledger says that it has come; `uploaded` when nobody has accepted it.
        waited_s: how many seconds it was waited for.
    """
    if verdict is not None and verdict.code:
        return f"{status}: {verdict.code} ({text_of(verdict.code)})", _REMEDIES[code_of(verdict.code)]
    if verdict is not None:
        return f"{status}: the verdict is {verdict.status}", "the backend has not heard it: look for callback.failed"
    if status != "pending":
        return f"{status}: the backend says so, and the ledger has no verdict", f"it ended it by itself, or {_REFUSED}"
    waited = f"{status}: no verdict in {waited_s:g} s"
    if progress == "uploaded":
        return f"{waited}, and nobody has accepted the upload", f"if events arrive, it was refused: {_REFUSED}"
    return f"{waited}: {progress}", "see that `scf-workers work` runs, or wait longer with --wait"
