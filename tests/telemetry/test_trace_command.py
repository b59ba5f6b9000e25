"""`scf-workers trace` on files made by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from console.cli.trace import find_traces, last_task, read_spans, show_trace
from runtime.errors import BadSettings
from telemetry import tracing
from telemetry.instruments import SpanName
from telemetry.trace_file import TraceFile
from telemetry.tracing import Tracer, current, note, span


class Steps:
    """A clock that moves by a second at each reading."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 10**9
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two tasks, woken by one span."""
    path = tmp_path / "trace.jsonl"
    sink, clock = TraceFile(path, "test"), Steps()
    before = tracing.install(Tracer(sink, clock=clock, steady=clock))
    try:
        runs = [_task("t1"), _task("t2")]
        with span(SpanName.HANDLE, "", of="producer.sweep", function="producer.sweep"):
            waker = current()
        for task, run in zip(("t1", "t2"), runs, strict=True):
            with span(SpanName.CONSUME, waker, of="wake", function="consumers.wake", task_id=task):
                here = current()
                with span(SpanName.WOKEN, run, link=here, function="consumers.wake", task_id=task, why="sweep"):
                    pass
    finally:
        tracing.install(before)
        sink.close()
    return path


def _task(task: str) -> str:
    """Record one task's spans; return the traceparent of its root."""
    with (
        span(SpanName.HANDLE, "", of="producer.cos_trigger", function="producer.cos_trigger"),
        span(SpanName.INTAKE, task_id=task) as first,
    ):
        pass
    with span(SpanName.CONSUME, first, of="clean", function="consumers.clean", task_id=task) as clean:
        for n in range(5):
            with span(SpanName.DOWNLOAD, key=f"staging/u/{n}.jpg", size=n):
                pass
        with span(SpanName.AUDIT, pictures=5):
            tracing.failed(ValueError("blurred"))
    with span(SpanName.CONSUME, clean, of="poll", function="consumers.poll", task_id=task):
        note(outcome="done")
    return first


def shown(path: Path, wanted: str) -> list[str]:
    out = io.StringIO()
    for trace in find_traces(read_spans(path), wanted):
        show_trace(trace, Console(file=out, width=200))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_tasks_way_is_shown_in_order(file: Path) -> None:
    lines = shown(file, "t1")
    spans = [" ".join(line.split()[4:]) for line in lines if " s  " in line[:20]]
    assert spans == [
        "handle producer.cos_trigger",
        "intake",
        "consume clean",
        "download x 5",
        "audit pictures=5 error_type=ValueError error=blurred",
        "consume poll outcome=done",
        spans[6],
        "handle producer.sweep",
        "consume wake",
    ]
    assert spans[6].startswith("woken why=sweep linked to trace ")
    functions = "producer.cos_trigger → consumers.clean → consumers.poll → consumers.wake"
    assert any(line.endswith(f"4 functions: {functions}") for line in lines)


def test_what_a_function_does_is_indented(file: Path) -> None:
    lines = shown(file, "t1")
    (consume,) = [line for line in lines if "consume clean" in line]
    (download,) = [line for line in lines if "download x 5" in line]
    assert download.index("download") == consume.index("consume") + 2


def test_a_wakers_trace_is_cut_down_to_the_task(file: Path) -> None:
    rows = read_spans(file)
    (waker,) = [trace for trace in find_traces(rows, "t2") if trace.functions[0] == "producer.sweep"]
    assert [row.attributes.get("task_id") for _, row in waker.rows] == [None, "t2"]
    (whole,) = find_traces(rows, waker.trace_id)
    assert [row.attributes.get("task_id") for _, row in whole.rows] == [None, "t1", "t2"]


def test_the_last_task_is_the_default(file: Path) -> None:
    assert last_task(read_spans(file)) == "t2"
    assert last_task([]) == ""


def test_what_is_unknown_is_not_found(file: Path) -> None:
    assert find_traces(read_spans(file), "t3") == []
    assert find_traces(read_spans(file), "") == []


def test_a_torn_line_is_left_out(file: Path) -> None:
    rows = read_spans(file)
    with file.open("ab") as out:
        out.write(b'{"trace_id": "ab\n\xff\xfe\n[]\n')
    assert read_spans(file) == rows


def test_a_trace_whose_beginning_is_lost_is_shown(file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if '"intake"' not in line]
    kept.write_text("\n".join(lines), encoding="utf-8")
    assert any("consume clean" in line for line in shown(kept, "t1"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"none\.jsonl"):
        read_spans(tmp_path / "none.jsonl")


def test_the_file_is_for_its_owner_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    for service in ("a", "b"):
        sink = TraceFile(path, service)
        before = tracing.install(Tracer(sink))
        with span(SpanName.HANDLE, "", of=service):
            pass
        tracing.install(before)
        sink.close()
    assert [json.loads(line)["service"] for line in path.read_text(encoding="utf-8").splitlines()] == ["a", "b"]
    assert path.stat().st_mode & 0o777 == 0o600
