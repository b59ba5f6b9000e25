"""Errors of the life of a task.

VendorDown (services)
└── VendorPaused           an operator has paused the vendor
Permanent
├── VendorFailed           the vendor ended a paid job badly
│   └── IncompleteResults  it ended well, with fewer files than were sold
├── CallUnknown            the outcome of a paid call stayed unknown
├── NotAccepted            a run that was never accepted
└── CannotErase            a user has unfinished tasks, or a bucket keeps old versions
"""

from __future__ import annotations

from messages.codes import Code
from messages.errors import Permanent
from services.errors import VendorDown

__all__ = ["CallUnknown", "CannotErase", "IncompleteResults", "NotAccepted", "VendorFailed", "VendorPaused"]


class VendorPaused(VendorDown):
    """An operator has paused the vendor."""


class VendorFailed(Permanent):
    """The vendor ended a paid job badly."""

    default_code = Code.VENDOR_FAILED


class IncompleteResults(VendorFailed):
    """The vendor ended a job well, with fewer files than were sold."""

    default_code = Code.INCOMPLETE_RESULTS


class CallUnknown(Permanent):
    """The outcome of a paid call stayed unknown."""

    default_code = Code.VENDOR_UNKNOWN


class NotAccepted(Permanent):
    """A message or a letter is about a run that was never accepted: it decides nothing."""


class CannotErase(Permanent):
    """A user's data cannot be erased now; the text is for operators, and names the remedy."""
