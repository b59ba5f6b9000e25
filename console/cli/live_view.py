"""Frames of the live view of tasks: a line for all of them, and a line for each as far as the terminal reaches.

A frame is a pure function of the state, the time and the size of the terminal. It is never higher or wider than the
terminal, because a higher one would scroll and leave copies behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from telemetry.printable import printable

__all__ = ["LEAST_COLUMNS", "LEAST_ROWS", "Row", "RowState", "frame"]

LEAST_COLUMNS: Final = 44
"""Narrowest terminal with a live view: a task's id and the beginning of its progress."""
LEAST_ROWS: Final = 5
"""Lowest terminal with a live view."""

_ONE_LINE_COLUMNS: Final = 72
"""Narrowest terminal in which a single task has its time on its line."""

_GAP: Final = "  "
_BAR: Final = 20
_FULL: Final = "█"
_EMPTY: Final = "░"
_FULL_ASCII: Final = "#"
_EMPTY_ASCII: Final = "-"


class RowState(StrEnum):
    """State of a task in the view; the value is the word for it."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


_STYLES: Final = {RowState.WAITING: "dim", RowState.RUNNING: "", RowState.SUCCESS: "green", RowState.FAILED: "red"}


class Row(NamedTuple):
    """A task in the view."""

    name: str = ""
    """Its id; empty until it is known."""
    text: str = "waiting"
    """Its progress or its end."""
    state: RowState = RowState.WAITING


def frame(
    rows: Sequence[Row], note: str, elapsed_s: float, columns: int, lines: int, *, ascii_only: bool = False
) -> list[Text]:
    """Return the lines of the view.

    Args:
        rows: all tasks.
        note: text in place of the numbers, such as before the first task starts; empty for the numbers.
        elapsed_s: seconds since the command began.
        columns: width of the terminal.
        lines: height of the terminal.
        ascii_only: draw with ASCII characters alone.
    """
    if len(rows) == 1 and columns >= _ONE_LINE_COLUMNS:
        line = Text(printable(note)) if note else _row(rows[0], columns)
        return [_ended(line, elapsed_s, columns)]
    # The last line stays free: the cursor stands there.
    shown, others = _selected(rows, lines - 2)
    drawn = [_ended(_total(rows, note, ascii_only=ascii_only), elapsed_s, columns)]
    drawn += [_row(row, columns) for row in shown]
    if others:
        drawn.append(_line(f"and {_counts(others)}", columns, "dim"))
    return drawn


def _selected(rows: Sequence[Row], room: int) -> tuple[list[Row], list[Row]]:
    """Divide the rows into those that are shown and those that are counted.

    All are shown if there is room; else the failed and the running ones as far as it reaches, in their order.
    """
    if len(rows) <= room:
        return list(rows), []
    first = [n for n, row in enumerate(rows) if row.state is RowState.FAILED]
    first += [n for n, row in enumerate(rows) if row.state is RowState.RUNNING]
    chosen = set(first[: max(0, room - 1)])
    return [row for n, row in enumerate(rows) if n in chosen], [row for n, row in enumerate(rows) if n not in chosen]


def _counts(rows: Sequence[Row]) -> str:
    found = Counter(row.state for row in rows)
    return ", ".join(f"{found[state]} {state}" for state in RowState if found[state])


def _total(rows: Sequence[Row], note: str, *, ascii_only: bool) -> Text:
    if note:
        return Text(printable(note))
    failed = sum(row.state is RowState.FAILED for row in rows)
    ended = failed + sum(row.state is RowState.SUCCESS for row in rows)
    full = _BAR * ended // len(rows)
    bar = (_FULL_ASCII if ascii_only else _FULL) * full + (_EMPTY_ASCII if ascii_only else _EMPTY) * (_BAR - full)
    return Text(f"{bar}{_GAP}{ended} of {len(rows)} ended" + (f", {failed} failed" if failed else ""))


def _row(row: Row, columns: int) -> Text:
    return _line(f"{row.name}{_GAP}{row.text}" if row.name else row.text, columns, _STYLES[row.state])


def _line(text: str, columns: int, style: str) -> Text:
    return Text(_fitted(printable(text), columns), style)


def _ended(line: Text, elapsed_s: float, columns: int) -> Text:
    """Return a line with the elapsed time at its right end."""
    clock = _clock(elapsed_s)
    room = columns - len(clock) - 1
    return Text(set_cell_size(_fitted(line.plain, room), room), line.style).append(f" {clock}", "bold")


def _fitted(text: str, columns: int) -> str:
    """Return a text on one line of at most this width; a cut text ends with a mark."""
    flat = " ".join(text.split("\n"))
    return flat if cell_len(flat) <= columns else set_cell_size(flat, max(0, columns - 1)).rstrip() + "…"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
