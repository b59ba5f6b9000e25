"""Tables without cut cells: a row that is too long for the terminal becomes a few lines."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from console.cli.terminal import say
from telemetry.printable import printable

__all__ = ["age", "fitting_columns", "moment", "say_table", "table_lines", "terminal_width"]

_GAP: Final = "  "
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400


def moment(seconds: float) -> str:
    """Return a time as ISO 8601, UTC, in whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def age(seconds: float) -> str:
    """Return a duration in its two largest units, such as `3h 5m`."""
    whole = max(0, round(seconds))
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m {whole % _MINUTE_S}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h {whole % _HOUR_S // _MINUTE_S}m"
    return f"{whole // _DAY_S}d {whole % _DAY_S // _HOUR_S}h"


def terminal_width() -> int | None:
    """Return the columns of the terminal; None if the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], noun: str, plural: str = "", *, complete: bool = True
) -> None:
    """Print rows and their number.

    Args:
        columns: their names.
        rows: the cells of each row, one for each column.
        noun: word for a row.
        plural: word for several; empty for the noun with an s.
        complete: False if there are more rows.
    """
    for line in table_lines(columns, rows, terminal_width()):
        say(line)
    more = "" if complete else "; there are more: give --limit, or narrow the list"
    say(f"{len(rows)} {noun if len(rows) == 1 else plural or f'{noun}s'}{more}")


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the lines of a table.

    Args:
        columns: their names.
        rows: the cells of each row; they may be foreign texts.
        width: columns of the terminal; None for no limit. In a terminal, columns without a value are left out.
    """
    if not rows:
        return []
    cells = [[printable(" ".join(cell.split())) for cell in row] for row in rows]
    kept = [n for n in range(len(columns)) if width is None or any(row[n] for row in cells)]
    names = [columns[n] for n in kept]
    cells = [[row[n] for n in kept] for row in cells]
    widths = [max(_cells(row[n]) for row in [names, *cells]) for n in range(len(names))]
    if width is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        return [line for row in cells for line in _block(names, row, width)]
    return [_line(row, widths) for row in [names, *cells]]


def fitting_columns(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> int:
    """Return the number of columns from the first on, at least one, with which a table fits into the width."""
    widths = [max(map(_cells, texts)) for texts in zip(columns, *rows, strict=True)]
    fitting = [n for n in range(1, len(columns) + 1) if width is None or sum(widths[:n]) + len(_GAP) * (n - 1) <= width]
    return max(fitting, default=1)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - _cells(cell)) for cell, width in zip(row, widths, strict=True))
    return _GAP.join(padded).rstrip()


def _block(names: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    """Yield a row as its first cell, and below it the names and values of the others."""
    yield row[0]
    line = ""
    for name, cell in zip(names[1:], row[1:], strict=True):
        if not cell:
            continue
        pair = f"{name} {cell}"
        if line and _cells(line) + len(_GAP) + _cells(pair) > width:
            yield line
            line = ""
        line = f"{line}{_GAP}{pair}"
    if line:
        yield line


def _cells(text: str) -> int:
    """Return the columns that a text takes: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
