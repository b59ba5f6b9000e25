"""`scf-workers trace`: shows the spans of a task from a local trace file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.table import Table
from rich.text import Text

from console.cli.arguments import reason
from console.cli.safe_console import SafeConsole
from runtime.errors import BadSettings

__all__ = ["Row", "Trace", "find_traces", "last_task", "newest_trace_file", "read_spans", "show_trace"]

_ENTRIES: Final = frozenset({"server", "consumer"})
"""Kinds of spans that begin a function's work: they are shown one after another, not nested."""

_KNOWN: Final = frozenset({"function", "user_id", "task_id", "step", "run", "stage", "topic", "message_id", "kind"})
"""Attributes that are not repeated on each line."""

_LEFT: Final = (Path(".sandbox/data/trace.jsonl"), Path("out/trace.jsonl"))
"""Files that a sandbox and a demo leave in the current folder, by their default options."""

_FEW: Final = 3
"""Greatest number of equal calls that are shown one by one."""

_WIDE: Final = 200
"""Width in columns for a pipe: rich's default of 80 would fold the table."""


class Row(msgspec.Struct, frozen=True):
    """A span of the file (`telemetry.trace_file`)."""

    trace_id: str
    span_id: str
    parent: str
    name: str
    service: str
    kind: str
    start: float
    """Seconds since the epoch."""
    duration: float
    failed: bool = False
    link: str = ""
    attributes: Mapping[str, str | int | float | bool] = {}

    @property
    def function(self) -> str:
        """Function whose work the span begins; empty for an inner span."""
        return str(self.attributes.get("function", ""))


class Trace(msgspec.Struct, frozen=True):
    """Spans of one trace: the work of each function by its begin, and its inner spans below it."""

    trace_id: str
    rows: tuple[tuple[int, Row], ...]
    """Spans with their depth below the function's span."""

    @property
    def functions(self) -> tuple[str, ...]:
        """Every function of the trace, in the order of their begins."""
        return tuple(dict.fromkeys(row.function for _, row in self.rows if row.function))

    @property
    def seconds(self) -> float:
        """Seconds from the first begin to the last end."""
        return max(row.start + row.duration for _, row in self.rows) - min(row.start for _, row in self.rows)


def newest_trace_file() -> Path | None:
    """Return the trace file of the last sandbox or demo in the current folder; None without one."""
    found = [path for path in _LEFT if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def read_spans(path: Path) -> list[Row]:
    """Read the spans of a trace file. Invalid lines, such as one cut by a crash, are skipped.

    Raises:
        runtime.errors.BadSettings: the file cannot be read.
    """
    decode = msgspec.json.Decoder(Row).decode
    rows: list[Row] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadSettings(f"the trace file {path} cannot be read: {reason(error)}") from error
    for line in lines:
        try:
            rows.append(decode(line))
        except (msgspec.MsgspecError, UnicodeError):
            continue
    return rows


def last_task(rows: Iterable[Row]) -> str:
    """Return the id of the task whose work began last; empty if there is none."""
    begun: dict[str, float] = {}
    for row in sorted(rows, key=lambda row: row.start):
        if task := str(row.attributes.get("task_id", "")):
            begun.setdefault(task, row.start)
    return next(reversed(begun), "")


def find_traces(rows: Iterable[Row], wanted: str) -> list[Trace]:
    """Return the traces of a task, or the trace with this id, oldest first.

    A waker's trace may contain several tasks; if one of them is wanted, only its spans are returned.
    """
    by_trace: dict[str, list[Row]] = {}
    for row in rows:
        by_trace.setdefault(row.trace_id, []).append(row)
    found: list[Trace] = []
    for trace_id, spans in by_trace.items():
        if trace_id == wanted:
            found.append(Trace(trace_id, _ordered(spans, "")))
        elif any(row.attributes.get("task_id") == wanted for row in spans):
            found.append(Trace(trace_id, _ordered(spans, wanted)))
    return sorted(found, key=lambda trace: trace.rows[0][1].start)


def show_trace(trace: Trace, console: SafeConsole | None = None) -> None:
    """Print a trace: one line for each span, indented by its depth; equal calls below one span share a line."""
    console = console or _console()
    begin = trace.rows[0][1].start
    table = Table("at", "took", "span", "what", box=None, pad_edge=False, header_style="dim")
    for depth, row, alike in _together(trace.rows):
        style = "red" if row.failed else ("bold" if row.function else "")
        name = f"{row.name} x {alike}" if alike > 1 else row.name
        table.add_row(
            f"{row.start - begin:.3f} s",
            f"{row.duration:.3f} s",
            Text("  " * depth + name, style=style),
            Text("" if alike > 1 else _details(row), style=style if row.failed else ""),
        )
    console.print(f"trace {trace.trace_id}", highlight=False, markup=False)
    console.print(table)
    functions = " → ".join(trace.functions)
    count = f"{len(trace.rows)} spans in {trace.seconds:.1f} s, {len(trace.functions)} functions: {functions}"
    console.print(count, highlight=False, markup=False, soft_wrap=True)


def _console() -> SafeConsole:
    console = SafeConsole()
    return console if console.is_terminal else SafeConsole(width=_WIDE)


def _ordered(rows: Sequence[Row], task: str) -> tuple[tuple[int, Row], ...]:
    """Return the rows in reading order: each function's work by its begin, and its inner spans below it."""
    ids = {row.span_id for row in rows}
    inside: dict[str, list[Row]] = {}
    tops: list[Row] = []
    for row in sorted(rows, key=lambda row: row.start):
        if row.kind in _ENTRIES or row.function or row.parent not in ids:
            tops.append(row)
        else:
            inside.setdefault(row.parent, []).append(row)
    ordered: list[tuple[int, Row]] = []
    for top in tops:
        if not task or top.attributes.get("task_id", task) == task:
            _descend(top, 0, inside, ordered)
    return tuple(ordered)


def _descend(row: Row, depth: int, inside: Mapping[str, Sequence[Row]], ordered: list[tuple[int, Row]]) -> None:
    ordered.append((depth, row))
    for child in inside.get(row.span_id, ()):
        _descend(child, depth + 1, inside, ordered)


def _together(rows: Sequence[tuple[int, Row]]) -> list[tuple[int, Row, int]]:
    """Merge equal successful calls below the same span. Returns rows, each with its number of calls."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for _, row in rows:
        if row.kind == "client" and not row.failed:
            alike.setdefault((row.parent, row.name), []).append(row)
    merged: list[tuple[int, Row, int]] = []
    for depth, row in rows:
        same = alike.get((row.parent, row.name), [])
        if len(same) <= _FEW or row not in same:
            merged.append((depth, row, 1))
        elif row is same[0]:
            end = max(each.start + each.duration for each in same)
            merged.append((depth, msgspec.structs.replace(row, duration=end - row.start), len(same)))
    return merged


def _details(row: Row) -> str:
    parts = [f"{name}={_short(name, value)}" for name, value in row.attributes.items() if name not in _KNOWN]
    return " ".join([*parts, f"linked to trace {row.link.split('-')[1]}"] if row.link else parts)


def _short(name: str, value: object) -> str:
    return str(value).rpartition("/")[2] if name == "key" else str(value)
