"""The report of a demo: nothing is cut, each failure has its remedy, and the exit status is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from console.cli.demo.report import end_of_log, report_lines
from console.cli.demo.run import DemoOptions, DemoReport, DemoTask
from telemetry.printable import printable

OPTIONS = DemoOptions(inputs=(), kind="model_pose12", params={}, out=Path("out"), limit_s=1)
DELIVERED = {"path": "/", "status": "success", "signature_ok": True, "http_status": 200}


def task(number: int, code: str = "", **changes: Any) -> DemoTask:
    status = "failed" if code else "success"
    fields: dict[str, Any] = {
        "task_id": f"{number:032x}",
        "user_id": "u-1024",
        "kind": "model_pose12",
        "status": status,
        "inputs": 1,
        "outputs": (),
        "files": () if code else tuple("abc"),
        "text": "",
        "degraded": (),
        "error": {"code": code, "message": "生成失败"} if code else None,
        "remedy": "look at the log" if code else "",
        "callbacks": ({**DELIVERED, "status": status},),
        "vendor_calls": {"create": 1, "query": 2},
        "trace_id": "",
        "elapsed_s": 4.25,
    }
    return DemoTask(**{**fields, **changes})


def report(*tasks: DemoTask, refunded: int | None = None) -> DemoReport:
    failed = sum(one.status == "failed" for one in tasks)
    return DemoReport("sqlite", tasks, {"charged": len(tasks), "refunded": failed if refunded is None else refunded})


def lines(found: DemoReport, width: int | None = 80) -> list[str]:
    return list(report_lines(found, OPTIONS, width))


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (None, ["task", "verdict", "seconds", "paid", "files", "callbacks"]),
        (80, ["task", "verdict", "seconds", "paid", "files", "callbacks"]),
        (60, ["task", "verdict", "seconds", "paid"]),
        (44, ["task", "verdict"]),
        (33, ["task"]),
    ],
)
def test_a_narrow_terminal_has_fewer_columns_and_whole_ids(width: int | None, columns: list[str]) -> None:
    found = lines(report(task(1), task(2, "vendor_failed")), width)
    assert found[0].split() == columns
    assert [line.split()[0] for line in found[1:3]] == [f"{n:032x}" for n in (1, 2)]
    assert f"{2:032x} failed: vendor_failed (生成失败)" in found
    assert "  -> look at the log" in found


def test_each_reason_stands_once_with_its_tasks() -> None:
    found = lines(report(task(1, "busy"), task(2, "timeout"), task(3, "busy")))
    at = found.index("2 tasks failed: busy (生成失败)")
    assert found[at + 1 : at + 4] == [f"  {1:032x}", f"  {3:032x}", "  -> look at the log"]
    same = lines(report(task(1, "busy"), task(2, "busy")))
    assert same[same.index("2 tasks failed: busy (生成失败)") + 1] == "  -> look at the log"


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (report(task(1)), "every task ended with one delivered verdict"),
        (
            report(task(1, "busy")),
            "a right end: every task got exactly one delivered verdict, and the failed task was refunded once",
        ),
        (
            report(task(1, "busy"), task(2, "busy"), task(3)),
            "a right end: every task got exactly one delivered verdict, and the 2 failed tasks were refunded once",
        ),
    ],
)
def test_a_right_end_is_explained(found: DemoReport, sentence: str) -> None:
    assert sentence in lines(found)


def test_a_wrong_end_shows_the_end_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/workers.log").write_text("".join(f"line {n}\n" for n in range(30)), encoding="utf-8")
    found = lines(report(task(1, "busy"), refunded=0))
    assert any(line.startswith("not a right end: ") for line in found)
    assert found[-1] == end_of_log(Path("out/workers.log"))
    assert found[-1].splitlines()[0] == "the log, out/workers.log, ends:"
    assert found[-1].splitlines()[-1] == "  line 29"


def test_texts_and_replacements_are_shown_whole() -> None:
    text = "一件红色的大衣" * 20
    found = lines(report(task(1, text=text, degraded=("prompt_template", "original_input"))))
    assert f"{1:032x}: {text}" in found
    assert f"{1:032x} is degraded: prompt_template, original_input" in found
    assert all(printable(line) == line for line in found)
