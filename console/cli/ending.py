"""Description of a task's end and its remedy, for the person who submitted it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from messages.codes import Code, code_of, text_of
from tasks.ledger.records import Verdict

__all__ = ["describe_ending"]

_REJECTED: Final = "look for task.rejected, ticket.rejected and upload.failed in the log of producer.cos_trigger"
_TICKET: Final = (
    "the secret that the backend signs tickets with must be the workers' TICKET_SECRET; look for ticket.rejected"
)
_VENDOR: Final = "the workers' log holds the vendor's answer"
_WHERE: Final = "the workers' log, or the dead letter of the task, holds the cause"
_FORMAT: Final = "convert the photo to JPG, PNG, WebP or BMP"

_REMEDIES: Final[Mapping[Code, str]] = {
    Code.TIMEOUT: "its deadline passed: check that `scf-workers work` runs and that the vendor answers",
    Code.NOT_UPLOADED: "upload within UPLOAD_LIMIT_S of buying",
    Code.CANCELLED: "it was cancelled: buy it again",
    Code.CONTENT_VIOLATION: "the audit rejected a picture: take another photo",
    Code.BAD_PICTURE: "take a photo that is a JPG, PNG or WebP; its content counts, not its extension",
    Code.FORMAT_HEIC: _FORMAT,
    Code.FORMAT_AVIF: _FORMAT,
    Code.FORMAT_TIFF: _FORMAT,
    Code.FORMAT_GIF: _FORMAT,
    Code.FORMAT_OTHER: _FORMAT,
    Code.PICTURE_TOO_LARGE: "make the photo smaller: 32 MB and 250 million pixels at most",
    Code.BAD_VIDEO: "take a video that is an MP4 or MOV and plays on your machine",
    Code.VIDEO_TOO_LARGE: "make the video shorter or smaller: 60 seconds and 200 MB at most",
    Code.EMPTY_FILE: "take a photo that is not empty",
    Code.INPUT_CHANGED: "submit it again, and do not change the upload while it is processed",
    Code.INPUT_UNAVAILABLE: "check that the URL of the input is public and still valid",
    Code.BAD_PARAMETERS: "correct --params; task.rejected in the log of producer.cos_trigger names the field",
    Code.UNKNOWN_KIND: "use a --kind that the workers know, or run this build of the workers",
    Code.INVALID_ID: "use a valid id for --user",
    Code.TICKET_MISSING: "upload with the ticket that was bought; look for ticket.rejected in the log",
    Code.TICKET_INVALID: _TICKET,
    Code.TICKET_EXPIRED: "upload before the ticket expires, and compare the clocks of backend and workers",
    Code.VENDOR_FAILED: _VENDOR,
    Code.VENDOR_REFUSED: _VENDOR,
    Code.VENDOR_UNKNOWN: f"the call may have been paid, so it is not repeated; {_VENDOR}",
    Code.INCOMPLETE_RESULTS: _VENDOR,
    Code.BUSY: _WHERE,
    Code.UNREADABLE: _WHERE,
    Code.INTERNAL: _WHERE,
}
"""Code -> remedy."""


def describe_ending(status: str, verdict: Verdict | None, progress: str, waited_s: float) -> tuple[str, str]:
    """Return how a task without results ended, and the remedy.

    Args:
        status: status at the backend; `pending` if there was no verdict in time.
        verdict: verdict in the ledger, if there is one.
        progress: progress in the ledger; `uploaded` if the task was not accepted.
        waited_s: seconds waited for it.
    """
    if verdict is not None and verdict.code:
        return f"{status}: {verdict.code} ({text_of(verdict.code)})", _REMEDIES[code_of(verdict.code)]
    if verdict is not None:
        return f"{status}: the verdict is {verdict.status}", "the backend has not received it: look for callback.failed"
    if status != "pending":
        return f"{status} at the backend, and the ledger has no verdict", f"the backend ended it, or {_REJECTED}"
    waited = f"{status}: no verdict in {waited_s:g} s"
    if progress == "uploaded":
        return f"{waited}, and the upload was not accepted", f"if events arrive, it was rejected: {_REJECTED}"
    return f"{waited}: {progress}", "check that `scf-workers work` runs, or wait longer with --wait"
