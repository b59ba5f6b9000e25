"""Output for people: the progress of tasks while they run, and the findings of the doctor."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Group
from rich.live import Live
from rich.markup import escape

from console.cli.live_view import LEAST_COLUMNS, LEAST_ROWS, Row, frame
from console.cli.safe_console import SafeConsole
from console.doctor.doctor import Finding

__all__ = ["Progress", "show_findings", "show_progress"]

_MARKS: Final[Mapping[bool | None, str]] = {True: "[green]ok[/green]  ", False: "[red]BAD[/red] ", None: "?   "}

_FRAMES_PER_S: Final = 4


class Progress(Protocol):
    """Display of each task's progress."""

    def note(self, text: str) -> None:
        """Show a note before the first task or after the last; an empty text ends it."""
        ...

    def update(self, number: int, row: Row) -> None:
        """Show task `number` (from 0)."""
        ...


class _View:
    """Live view in a terminal: each task keeps its line."""

    def __init__(self, console: SafeConsole, count: int) -> None:
        self._console = console
        self._began = time.monotonic()
        self._note = ""
        self._rows = [Row()] * count

    def note(self, text: str) -> None:
        self._note = text

    def update(self, number: int, row: Row) -> None:
        self._rows[number] = row

    def frame(self) -> Group:
        """Return the present frame."""
        size = self._console.size
        elapsed = time.monotonic() - self._began
        is_ascii = not self._console.encoding.startswith("utf")
        return Group(*frame(self._rows, self._note, elapsed, size.width, size.height, ascii_only=is_ascii))


class _Plain:
    """Progress for a pipe: prints a line when the text of a task changes, once its id is known."""

    def __init__(self, console: SafeConsole, count: int) -> None:
        self._console = console
        self._last = [Row()] * count

    def note(self, text: str) -> None:
        """Print nothing: a log needs the tasks alone."""

    def update(self, number: int, row: Row) -> None:
        if row.name and row != self._last[number]:
            self._last[number] = row
            self._console.print(f"{row.name}  {row.text}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def show_progress(count: int) -> Generator[Progress]:
    """Show the progress of tasks on standard error: a live view in a terminal, and lines elsewhere.

    The view is erased at the end, so that the results stand alone.
    """
    console = SafeConsole(stderr=True)
    if not _is_for_live_view(console):
        yield _Plain(console, count)
        return
    view = _View(console, count)
    with Live(get_renderable=view.frame, console=console, refresh_per_second=_FRAMES_PER_S, transient=True):
        yield view


def _is_for_live_view(console: SafeConsole) -> bool:
    size = console.size
    large = size.width >= LEAST_COLUMNS and size.height >= LEAST_ROWS
    return large and console.is_terminal and not console.is_dumb_terminal


def show_findings(findings: Sequence[Finding]) -> None:
    """Print the findings of the doctor, one line for each check."""
    console = SafeConsole()
    for finding in findings:
        mark = _MARKS[finding.ok]
        console.print(f"{mark} {escape(finding.name)}: {escape(finding.detail)}", highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"     -> {escape(finding.remedy)}", highlight=False, soft_wrap=True)
