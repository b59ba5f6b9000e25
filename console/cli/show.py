"""Output for people: progress lines while tasks run, a table at the end."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.markup import escape
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from console.cli.demo import DemoReport, Progress
from console.cli.safe_console import SafeConsole
from console.doctor.doctor import Finding

__all__ = ["show_findings", "show_progress", "show_report"]

_MARKS: Final[Mapping[bool | None, str]] = {True: "[green]ok[/green]  ", False: "[red]BAD[/red] ", None: "?   "}


class _Lines:
    def __init__(self, bars: Bars, count: int) -> None:
        self._bars = bars
        self._rows = [bars.add_task("waiting", total=1) for _ in range(count)]

    def update(self, number: int, text: str, *, done: bool) -> None:
        self._bars.update(self._rows[number], description=escape(text), completed=1 if done else 0)


class _Plain:
    """Progress for a pipe: prints a line when the text of a task changes."""

    def __init__(self, console: SafeConsole, count: int) -> None:
        self._console = console
        self._last = [""] * count

    def update(self, number: int, text: str, *, done: bool) -> None:  # noqa: ARG002 - the protocol's signature
        if text != self._last[number]:
            self._last[number] = text
            self._console.print(text, markup=False, highlight=False)


@contextmanager
def show_progress(count: int) -> Generator[Progress]:
    """Show one line for each task on standard error."""
    console = SafeConsole(stderr=True)
    if not console.is_terminal:
        yield _Plain(console, count)
        return
    with Bars(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as bars:
        yield _Lines(bars, count)


def show_report(report: DemoReport, out: Path) -> None:
    """Print the results of the tasks."""
    console = SafeConsole(stderr=True)
    table = Table("task", "kind", "verdict", "files", "paid calls", "callbacks", "seconds")
    for task in report.tasks:
        verdict = (
            task.status if task.error is None else f"{task.status}: {task.error['code']} ({task.error['message']})"
        )
        table.add_row(
            task.task_id,
            task.kind,
            verdict,
            str(len(task.files)),
            str(task.vendor_calls["create"]),
            str(len(task.callbacks)),
            f"{task.elapsed_s:.1f}",
        )
    console.print(table)
    console.print(f"quota: charged {report.quota['charged']}, refunded {report.quota['refunded']}")
    for task in report.tasks:
        if task.text:
            console.print(f"{task.task_id}: {task.text}", highlight=False, markup=False, soft_wrap=True)
        if task.degraded:
            console.print(f"{task.task_id} is degraded: {', '.join(task.degraded)}", highlight=False, markup=False)
    if any(task.files for task in report.tasks):
        console.print(
            f"results in {out}, all of them at a glance in {out / 'contact_sheet.jpg'}", highlight=False, markup=False
        )


def show_findings(findings: Sequence[Finding]) -> None:
    """Print the findings of the doctor, one line for each check."""
    console = SafeConsole()
    for finding in findings:
        mark = _MARKS[finding.ok]
        console.print(f"{mark} {escape(finding.name)}: {escape(finding.detail)}", highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"     -> {escape(finding.remedy)}", highlight=False, soft_wrap=True)
