"""The backend's list of steps without a verdict. Rows are decoded one by one: an odd one must not hide the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from messages.reasons import reason_of
from services.errors import BackendDown
from telemetry import logs
from telemetry.events import Event

__all__ = ["UnfinishedPage", "UnfinishedTask", "read_page"]

_EXAMPLES: Final = 3
_EXAMPLE_BYTES: Final = 200
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of msgspec for malformed or foreign JSON."""

log = logs.get(__name__)


class UnfinishedTask(msgspec.Struct, frozen=True):
    """A sold step whose verdict the backend does not have."""

    task: str
    user: str
    step: int
    created: float
    """Seconds since the epoch."""
    kind: str | None = None
    """Kind of the task; without it the task is looked at, but its limits are unknown."""


class UnfinishedPage(msgspec.Struct, frozen=True):
    """A page of unfinished tasks, oldest first."""

    rows: tuple[UnfinishedTask, ...]
    cursor: str | None = None
    """Cursor of the next page; None or empty on the last one."""
    unreadable: int = 0
    """Rows that cannot be read: the sweep cannot look at those tasks until the backend lists them correctly."""
    examples: tuple[str, ...] = ()
    """The first of those rows as they came, each cut short."""


class _Page(msgspec.Struct):
    """The page as it is sent. Rows are decoded one by one: an odd one must not hide the others."""

    rows: tuple[msgspec.Raw, ...]
    cursor: str | None = None


def read_page(body: bytes) -> UnfinishedPage:
    """Return a page; rows that cannot be read are counted and logged.

    Raises:
        services.errors.BackendDown: it is no page.
    """
    try:
        page = msgspec.json.decode(body, type=_Page)
    except _UNREADABLE as error:
        text = f"unreadable page of unfinished tasks: {reason_of(error)}"
        raise BackendDown(text, unreadable=True) from error
    rows, unreadable, wrong = _rows(page.rows)
    examples = tuple(_excerpt(raw) for raw in unreadable[:_EXAMPLES])
    if wrong is not None:
        log.error(Event.BACKEND_ROWS_UNREADABLE, error=wrong, records=len(unreadable), why="; ".join(examples))
    return UnfinishedPage(rows, page.cursor, len(unreadable), examples)


def _rows(
    listed: Sequence[msgspec.Raw],
) -> tuple[tuple[UnfinishedTask, ...], list[msgspec.Raw], Exception | None]:
    """Return the rows that can be read, those that cannot, and the error of the last of these."""
    found: list[UnfinishedTask] = []
    unreadable: list[msgspec.Raw] = []
    wrong: Exception | None = None
    for raw in listed:
        try:
            found.append(msgspec.json.decode(raw, type=UnfinishedTask))
        except _UNREADABLE as error:
            wrong = error
            unreadable.append(raw)
    return tuple(found), unreadable, wrong


def _excerpt(raw: msgspec.Raw) -> str:
    return bytes(raw)[:_EXAMPLE_BYTES].decode("utf-8", "replace")
