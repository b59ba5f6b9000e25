"""RunningHub's codes: a row for each code of its error reference, with its meaning for each of our calls.

Source: docs/reference/vendors.md (the vendor's own table, apifox.com/apidoc/docs-site/5441421/doc-6913925, and two
fuller lists of its users). A code that has no row: a create's outcome is unknown, a query has to come again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from messages.codes import Code
from services.vendors.on_create import OnCreate

__all__ = ["CODES", "UNLISTED", "Meaning", "OnQuery", "OnUpload"]


class OnQuery(StrEnum):
    """Meaning of a code in the answer to a look at a job."""

    WORKING = "working"
    """The job goes on, whatever status comes with the code."""
    ENDED = "ended"
    """The job has failed, whatever status comes with the code."""
    STATUS = "status"
    """The status beside the code decides; a code alone says nothing about the job."""
    DOWN = "down"
    """About our key or our rate, never about the job: even a status with it does not count."""


class OnUpload(StrEnum):
    """Meaning of a code in the answer to an upload."""

    DOWN = "down"
    """The vendor or our key fails as such: wait."""
    RETRY = "retry"
    """This upload failed and may work again."""
    REFUSED = "refused"
    """This file will never be taken."""


class Meaning(msgspec.Struct, frozen=True):
    """A row of the table."""

    name: str
    create: OnCreate
    query: OnQuery
    upload: OnUpload
    code: Code | None = None
    """The catalogue's code if it is not the usual one of the call."""
    wait: float | None = None
    """Seconds the vendor asks us to wait."""
    known: bool = True
    """False if the code means that our key has no such job."""


def _never(name: str, code: Code | None = None, query: OnQuery = OnQuery.STATUS) -> Meaning:
    return Meaning(name, OnCreate.REFUSED, query, OnUpload.REFUSED, code)


def _full(name: str, wait: float | None = None) -> Meaning:
    return Meaning(name, OnCreate.FULL, OnQuery.DOWN, OnUpload.DOWN, wait=wait)


def _key(name: str) -> Meaning:
    # Reported to come and go for a key that works (docs/reference/vendors.md). Nothing was accepted, and a paying
    # customer's task must not die of it: wait, and let the deadline judge.
    return Meaning(name, OnCreate.FULL, OnQuery.DOWN, OnUpload.DOWN)


def _funds(name: str) -> Meaning:
    # As a key: an operator mends it for all tasks at once. A job that died of it has a status of its own.
    return Meaning(name, OnCreate.FULL, OnQuery.STATUS, OnUpload.DOWN)


def _server(name: str) -> Meaning:
    return Meaning(name, OnCreate.UNKNOWN, OnQuery.STATUS, OnUpload.DOWN)


def _working(name: str) -> Meaning:
    return Meaning(name, OnCreate.UNKNOWN, OnQuery.WORKING, OnUpload.RETRY)


def _ended(name: str, code: Code | None = None) -> Meaning:
    # As the answer to a create it would mean that a job exists or existed.
    return Meaning(name, OnCreate.UNKNOWN, OnQuery.ENDED, OnUpload.RETRY, code)


def _missing(name: str) -> Meaning:
    return Meaning(name, OnCreate.UNKNOWN, OnQuery.ENDED, OnUpload.RETRY, known=False)


CODES: Final[Mapping[str, Meaning]] = {
    "301": _never("parameters"),
    "380": _never("no such workflow"),
    "412": _never("token invalid; in practice a misspelt path"),
    "415": _full("no exclusive machine", wait=60.0),
    "416": _funds("wallet empty"),
    "421": _full("queue of the key full"),
    "423": _missing("task not found"),
    "433": _never("workflow does not validate"),
    "435": _never("instance type"),
    "436": _never("exclusive membership over"),
    "500": _server("server error"),
    "801": _key("key of a free user"),
    "802": _key("key not authorised"),
    "803": _never("node info mismatch"),
    "804": _working("task is running"),
    "805": _ended("task failed or was cancelled"),
    "806": _key("key's user not found"),
    "807": _missing("task not found"),
    "808": Meaning("upload failed", OnCreate.REFUSED, OnQuery.STATUS, OnUpload.RETRY),
    "809": _never("file too big", Code.PICTURE_TOO_LARGE),
    "810": _never("workflow not saved or never run"),
    "811": _key("key refused"),
    "812": _funds("enterprise funds empty"),
    "813": _working("task is queued"),
    "814": _full("personal queue full"),
    "901": _never("no such app"),
    "1000": _server("unknown error"),
    "1002": _key("key refused"),
    "1003": _full("rate limit"),
    "1004": _missing("task not found"),
    "1005": _server("server error"),
    "1006": _ended("task timed out", Code.TIMEOUT),
    "1007": _never("parameters"),
    "1008": _never("file too big", Code.PICTURE_TOO_LARGE),
    "1010": _server("server error"),
    "1011": _full("busy"),
    "1012": _server("server error"),
    "1013": _never("file not readable", Code.BAD_PICTURE),
    "1014": _key("needs an enterprise-shared key"),
    "1015": _ended("generation failed"),
    "1101": _never("node"),
    "1501": _never("content", Code.CONTENT_VIOLATION, OnQuery.ENDED),
    "1504": _ended("model timed out", Code.TIMEOUT),
    "1505": _never("real person", Code.CONTENT_VIOLATION, OnQuery.ENDED),
    "1520": _full("concurrency of the user"),
}
"""Code -> meaning. The vendor writes codes as numbers (v1) and as strings (v2); here they are strings."""

UNLISTED: Final = _server("unlisted")
"""Any other code."""
