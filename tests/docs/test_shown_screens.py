"""The screens and log lines that the pages show are those that the product prints."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from console.cli.demo.report import report_lines
from console.cli.demo.run import DemoOptions, DemoReport, DemoTask
from console.cli.live_view import Row, RowState, frame
from telemetry.text_line import text_line
from tests.docs.pages import blocks_of

WIDTH: Final = 80
STATES: Final = {"failed": RowState.FAILED, "success": RowState.SUCCESS}


def shown(page: str, number: int = 0) -> list[str]:
    return [block.text for block in blocks_of(page) if block.language == "text"][number].splitlines()


def test_the_live_view_of_a_demo() -> None:
    total, *lines = shown("README.md")
    rows = [Row(task, text, STATES.get(text.split()[0], RowState.RUNNING)) for task, text in _split(lines)]
    drawn = [line.plain.rstrip() for line in frame(rows, "", 15.0, WIDTH, 24)]
    assert drawn[0] == total
    assert sorted(drawn[1:]) == sorted(lines)


def test_the_report_of_a_demo() -> None:
    lines = shown("README.md", 1)
    task = DemoTask(
        task_id=lines[1].split()[0],
        user_id="u-1024",
        kind="model_pose12",
        status="success",
        inputs=1,
        outputs=(),
        files=tuple("abcdefghijkl"),
        text="",
        degraded=(),
        error=None,
        remedy="",
        callbacks=({"path": "/", "status": "success", "signature_ok": True, "http_status": 200},),
        vendor_calls={"create": 1},
        trace_id="",
        elapsed_s=4.3,
    )
    options = DemoOptions(inputs=(), kind="model_pose12", params={}, out=Path("out"), limit_s=1)
    printed = list(report_lines(DemoReport("sqlite", (task,), {"charged": 1, "refunded": 0}), options, WIDTH))
    assert [line.rstrip() for line in printed] == lines


def test_lines_of_a_log_for_people() -> None:
    done, stopped = shown("docs/telemetry.md", 1)
    moment, level, event, task, stage, *pairs = done.split()
    fields = {"task_id": task, "stage": stage, **dict(pair.split("=") for pair in pairs)}
    assert text_line(moment, level, event, fields) == done
    moment, level, event = stopped.split()
    assert text_line(moment, level, event, {}) == stopped


def _split(lines: list[str]) -> list[tuple[str, str]]:
    return [(line[:32], line[34:]) for line in lines]
