"""The vendor port: create a job once, look at it, cancel it.

Most vendors have no idempotency key, so `create` has exactly three outcomes: accepted, "not accepted" (`VendorFull`,
`VendorRefused`), or unknown (`CreateUnknown`). A client of this port never repeats a create by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from messages.codes import Code
from services.objects.port import Source
from services.vendors.usage import Usage

__all__ = [
    "Created",
    "Find",
    "JobFile",
    "JobRequest",
    "JobState",
    "JobStatus",
    "Results",
    "Vendor",
    "VendorKey",
    "key_of",
]


class JobState(StrEnum):
    """State of a job."""

    WORKING = "working"
    """Queued or running: look again later."""
    SUCCESS = "success"
    FAILED = "failed"
    """Terminal: failed, cancelled, timed out or refused content; also a job that is not `known`."""


class JobFile(msgspec.Struct, frozen=True):
    """A result. Its URL is short-lived and never leaves the worker."""

    url: str
    type: str
    """File type in lower case: png, jpg, mp4, …"""


class JobStatus(msgspec.Struct, frozen=True):
    """The vendor's answer to a look at a job."""

    state: JobState
    files: tuple[JobFile, ...] = ()
    """Results in the vendor's order, previews and other by-products left out."""
    code: Code = Code.VENDOR_FAILED
    """The catalogue's code of a failed job."""
    reason: str = ""
    """The vendor's own words about a failed job, for operators only."""
    usage: Usage = Usage()
    """The cost of an ended job by the vendor's own count."""
    known: bool = True
    """False if the vendor does not know the job; only for a failed one. An accepted job may be known again later."""


class JobRequest(msgspec.Struct, frozen=True):
    """A request for a job."""

    kind: str
    """The task's kind: key of its configuration at the vendor."""
    inputs: Mapping[str, str] = {}
    """The recipe's names of the inputs, in their order -> reference to an uploaded file, or URL."""
    values: Mapping[str, str] = {}
    """Parameter names of the recipe -> text. None of them can replace an input."""
    webhook: str = ""
    """Unguessable URL for the vendor's webhook; empty for none."""
    identity: str = ""
    """Identity of this call, hexadecimal: for a vendor that can find a call by it."""
    videos: frozenset[str] = frozenset()
    """Names of the inputs that are videos; the others are pictures."""


class Created(msgspec.Struct, frozen=True):
    """A job was accepted: look at it later."""

    id: str
    """The vendor's id of the job."""


class Results(msgspec.Struct, frozen=True):
    """The answer to the create is the result: there is no job to look at."""

    files: tuple[JobFile, ...]
    """In the vendor's order; their URLs are short-lived."""
    usage: Usage = Usage()


class VendorKey(msgspec.Struct, frozen=True, order=True):
    """A vendor's key, by the label of the account that it belongs to."""

    vendor: str
    label: str

    def __str__(self) -> str:
        """Return vendor and label, as logs and screens show the key."""
        return f"{self.vendor}/{self.label}"


Find = Callable[[str], Awaitable[str]]
"""Identity of a call -> id of the job that was made for it; empty where none is found, which proves nothing.

Raises `services.errors.VendorDown` where it gave no usable answer.
"""


class Vendor(Protocol):
    """A vendor, with one key of ours."""

    @property
    def name(self) -> str:
        """Short name for logs, metrics and ledger records."""
        ...

    @property
    def label(self) -> str:
        """Names the account of our key: a new key of the account keeps it, another account never gets it."""
        ...

    @property
    def result_hosts(self) -> frozenset[str]:
        """Hosts that results may be downloaded from."""
        ...

    @property
    def upload_limit(self) -> int:
        """Largest upload in bytes; a larger input goes as a URL."""
        ...

    @property
    def find(self) -> Find | None:
        """Finds the job of a call whose answer was lost; None for a vendor that cannot."""
        ...

    async def check_room(self) -> None:
        """Return if the vendor has room for another job of our key.

        Raises:
            services.errors.VendorFull: it has no room.
            services.errors.VendorDown: it gave no usable answer.
        """
        ...

    async def upload(self, source: Source, *, filename: str, content_type: str) -> str:
        """Upload an input and return the vendor's reference to it.

        Raises:
            services.errors.UploadFailed: may work again.
            services.errors.VendorDown: the vendor or our key as such fails.
            services.errors.VendorRefused: never will: too big, wrong type.
        """
        ...

    async def create(self, request: JobRequest, *, timeout: float) -> Created | Results:  # noqa: ASYNC109 - of the one POST
        """Make the paid call: one POST on a fresh connection, never repeated.

        Returns:
            `Created` from an asynchronous vendor, `Results` from one whose answer is the result.

        Raises:
            services.errors.VendorFull: not accepted, come again later.
            services.errors.VendorRefused: not accepted, and never will be.
            services.errors.CreateUnknown: sent, with an unknown outcome.
        """
        ...

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:
        """Look at a job once.

        Args:
            job_id: the vendor's id.
            kind: of the task; it selects which of the job's files are results.

        Raises:
            services.errors.VendorDown: no usable answer (a flickering 401 counts as such): look again later.
        """
        ...

    async def made_for(self, job_id: str) -> str:
        """Show which paid call a job was made for: the proof of a webhook's hint.

        Returns:
            The webhook URL that the job was created with: a secret. Empty for a vendor that shows it for no job.

        Raises:
            services.errors.VendorDown: it does not show it now, or not yet.
        """
        ...

    async def cancel(self, job_id: str) -> None:
        """Ask the vendor to stop a job; one that has ended or is unknown is fine.

        Raises:
            services.errors.VendorDown: it did not answer.
        """
        ...

    async def close(self) -> None:
        """Drop connections."""
        ...


def key_of(vendor: Vendor) -> VendorKey:
    """Return the key that a client uses."""
    return VendorKey(vendor.name, vendor.label)
