"""Errors of the life of a task.

Permanent
├── VendorFailed           the vendor ended a paid job badly
│   └── IncompleteResults  it ended well, with fewer files than were sold
└── CallUnknown            the outcome of a paid call stayed unknown
"""

from __future__ import annotations

from messages.codes import Code
from messages.errors import Permanent

__all__ = ["CallUnknown", "IncompleteResults", "VendorFailed"]


class VendorFailed(Permanent):
    """The vendor ended a paid job badly."""

    default_code = Code.VENDOR_FAILED


class IncompleteResults(VendorFailed):
    """The vendor ended a job well, with fewer files than were sold."""

    default_code = Code.INCOMPLETE_RESULTS


class CallUnknown(Permanent):
    """The outcome of a paid call stayed unknown."""

    default_code = Code.VENDOR_UNKNOWN
