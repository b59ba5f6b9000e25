"""Frames of the live view: never larger than the terminal, no id cut, and important rows stay visible."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.cli.live_view import LEAST_COLUMNS, LEAST_ROWS, Row, RowState, frame

IDS = tuple(f"{n:032x}" for n in range(60))

ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(IDS),
        st.sampled_from(["uploading a.jpg", "界" * 30, "x\ny" * 20]),
        st.sampled_from(RowState),
    ),
    min_size=1,
    max_size=60,
)


def drawn(rows: list[Row], columns: int = 80, lines: int = 24, note: str = "") -> list[str]:
    return [line.plain for line in frame(rows, note, 75.4, columns, lines)]


def running(number: int, text: str = "waiting for the vendor") -> Row:
    return Row(IDS[number], text, RowState.RUNNING)


@given(ROWS, st.integers(LEAST_COLUMNS, 120), st.integers(LEAST_ROWS, 50), st.sampled_from(["", "starting 界"]))
def test_a_frame_fits_the_terminal_and_cuts_no_id(rows: list[Row], columns: int, lines: int, note: str) -> None:
    found = drawn(rows, columns, lines, note)
    assert 1 <= len(found) < lines
    assert all(cell_len(line) <= columns and "\n" not in line for line in found)
    started = [line for line in found if line.startswith("0000000")]
    assert all(line[:32] in IDS for line in started)
    assert not note or found[0].startswith("starting")


@given(ROWS.filter(lambda rows: len(rows) > 1), st.integers(LEAST_ROWS, 50))
def test_every_task_is_shown_or_counted_and_the_failed_ones_come_first(rows: list[Row], lines: int) -> None:
    found = drawn(rows, 80, lines)
    last = found[-1]
    counted = sum(int(part.split()[0]) for part in last.removeprefix("and ").split(", ")) if last[:4] == "and " else 0
    shown = found[1 : -1 if counted else None]
    assert len(shown) + counted == len(rows)
    if counted:
        ends = [row.state for row in rows if row.state in {RowState.FAILED, RowState.RUNNING}]
        assert len(shown) == min(len(ends), lines - 3)
        assert ("failed" not in last) or ends.count(RowState.FAILED) > len(shown)


def test_a_single_task_is_one_line() -> None:
    assert drawn([running(7)], 80) == [f"{IDS[7]}  waiting for the vendor".ljust(76) + "1:15"]
    assert drawn([Row()], 80, note="starting") == ["starting".ljust(76) + "1:15"]
    narrow = drawn([running(7)], 60)
    assert narrow == ["░" * 20 + "  0 of 1 ended".ljust(36) + "1:15", f"{IDS[7]}  waiting for the vendor"]


def test_several_tasks_have_a_total_and_a_line_each_that_stays_in_its_place() -> None:
    rows = [
        running(0),
        Row(IDS[1], "success in 4.3 s", RowState.SUCCESS),
        Row(IDS[2], "failed in 4.4 s", RowState.FAILED),
    ]
    found = drawn([*rows, Row()], 60)
    assert found == [
        "██████████░░░░░░░░░░  2 of 4 ended, 1 failed            1:15",
        f"{IDS[0]}  waiting for the vendor",
        f"{IDS[1]}  success in 4.3 s",
        f"{IDS[2]}  failed in 4.4 s",
        "waiting",
    ]
    assert frame(rows, "", 0.0, 60, 24, ascii_only=True)[0].plain.startswith("#############-------  2 of 3 ended")


def test_forty_tasks_in_thirty_lines_show_failed_and_running_ones_in_order() -> None:
    rows = [Row(IDS[n], "success in 2.0 s", RowState.SUCCESS) for n in range(10)]
    rows += [running(n) for n in range(10, 35)]
    rows += [Row(IDS[35], "failed in 9.0 s", RowState.FAILED), *[Row()] * 4]
    found = drawn(rows, 60, 30)
    assert len(found) == 28
    assert found[-1] == "and 4 waiting, 10 success"
    assert [line[:32] for line in found[1:-1]] == [*IDS[10:35], IDS[35]]
    low = drawn(rows, 60, 12)
    assert low[-2].startswith(IDS[35])
    assert low[-1] == "and 4 waiting, 17 running, 10 success"
    assert all(earlier < later for earlier, later in pairwise(line[:32] for line in low[1:-1]))


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2Jx", "界" * 50, "long " * 50])
def test_a_foreign_text_stays_on_its_line(text: str) -> None:
    (line,) = drawn([running(0, text)], 80)
    assert cell_len(line) == 80
    assert line.isprintable()
    assert line.startswith(IDS[0])
    assert line.endswith(" 1:15")
