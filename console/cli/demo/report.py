"""Report of a demo for people: a table of the tasks, failures with their remedies, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from console.cli.demo.run import DemoOptions, DemoReport, DemoTask, is_right_end
from console.cli.operate.tables import fitting_columns, table_lines
from console.cli.safe_console import SafeConsole

__all__ = ["end_of_log", "report_lines", "show_report"]

_COLUMNS: Final = ("task", "verdict", "seconds", "paid", "files", "callbacks")
"""Columns of the table. A narrow terminal leaves out the last ones."""

_TAIL: Final = 12
"""Lines of the log that are shown after a failure."""


def show_report(report: DemoReport, options: DemoOptions) -> None:
    """Print the results of the tasks on standard error."""
    console = SafeConsole(stderr=True)
    width = console.width if console.is_terminal else None
    for line in report_lines(report, options, width):
        # Nothing is cut: in a terminal, words go to the next line; elsewhere, a line stays whole.
        console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def report_lines(report: DemoReport, options: DemoOptions, width: int | None) -> Iterator[str]:
    """Yield the lines of the report.

    Args:
        report: the results.
        options: options of the demo.
        width: columns of the terminal; None for no limit.
    """
    kept = fitting_columns(_COLUMNS, rows := [_cells(task) for task in report.tasks], width)
    yield from table_lines(_COLUMNS[:kept], [row[:kept] for row in rows], width)
    yield f"kind {options.kind}; quota: charged {report.quota['charged']}, refunded {report.quota['refunded']}"
    yield from _failures(report.tasks)
    for task in report.tasks:
        yield from _details(task)
    yield _ending(report)
    if any(task.files for task in report.tasks):
        yield f"results in {options.out}, all of them at a glance in {options.out / 'contact_sheet.jpg'}"
    yield f"log of workers and stand-ins: {options.log}"
    if not is_right_end(report):
        yield end_of_log(options.log)


def _cells(task: DemoTask) -> list[str]:
    counts = (task.vendor_calls["create"], len(task.files), len(task.callbacks))
    return [task.task_id, task.status, f"{task.elapsed_s:.1f}", *map(str, counts)]


def _failures(tasks: Sequence[DemoTask]) -> Iterator[str]:
    """Yield each reason of failure once, with its tasks and the remedy."""
    found: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        if task.error is not None:
            found.setdefault((f"{task.error['code']} ({task.error['message']})", task.remedy), []).append(task.task_id)
    for (cause, remedy), ids in found.items():
        if len(ids) == 1:
            yield f"{ids[0]} failed: {cause}"
        else:
            yield f"{len(ids)} tasks failed: {cause}"
            yield from (f"  {task_id}" for task_id in ids if len(ids) < len(tasks))
        yield f"  -> {remedy}"


def _details(task: DemoTask) -> Iterator[str]:
    if task.text:
        yield f"{task.task_id}: {task.text}"
    if task.degraded:
        yield f"{task.task_id} is degraded: {', '.join(task.degraded)}"


def _ending(report: DemoReport) -> str:
    """Return the sentence that explains the exit status."""
    failed = sum(task.status != "success" for task in report.tasks)
    if not is_right_end(report):
        return "not a right end: a task has not exactly one delivered verdict, or the quota account does not balance"
    if not failed:
        return "every task ended with one delivered verdict"
    tasks = "the failed task was" if failed == 1 else f"the {failed} failed tasks were"
    return f"a right end: every task got exactly one delivered verdict, and {tasks} refunded once"


def end_of_log(path: Path) -> str:
    """Return the last lines of a log with its name."""
    lines: Sequence[str] = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"the log, {path}, ends:", *(f"  {line}" for line in lines[-_TAIL:])])
