"""Tables of operators' commands: no cell is cut at any width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.cli.operate.tables import age, table_lines

CELL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=40)
ROWS = st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=5)


@given(ROWS, st.none() | st.integers(10, 100))
def test_every_cell_is_there_in_one_piece(rows: list[list[str]], width: int | None) -> None:
    text = "\n".join(table_lines(("id", "state", "why"), rows, width))
    assert all(cell in text for row in rows for cell in row)


def test_a_table_that_fits_has_a_line_for_each_row() -> None:
    rows = [["a", "", "x"], ["bb", "", "y"]]
    assert table_lines(("id", "state", "why"), rows, 80) == ["id  why", "a   x", "bb  y"]
    assert table_lines(("id", "state", "why"), rows, None) == ["id  state  why", "a          x", "bb         y"]
    assert table_lines(("id",), [], 80) == []


def test_in_a_narrow_terminal_a_row_becomes_lines() -> None:
    rows = [["t" * 32, "working", "vendor_full"], ["u" * 32, "queued", ""]]
    assert table_lines(("id", "state", "why"), rows, 30) == [
        "t" * 32,
        "  state working",
        "  why vendor_full",
        "u" * 32,
        "  state queued",
    ]


def test_chinese_characters_take_two_columns() -> None:
    assert table_lines(("a", "b"), [["图片", "x"], ["a", "y"]], None) == ["a     b", "图片  x", "a     y"]


def test_a_foreign_text_stays_on_its_line_and_moves_no_cursor() -> None:
    assert table_lines(("a",), [["x\n\x1b[2Jy"]], None) == ["a", r"x \x1b[2Jy"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-3, "0s"), (0, "0s"), (59.4, "59s"), (61, "1m 1s"), (3700, "1h 1m"), (90000, "1d 1h"), (59.7, "1m 0s")],
)
def test_a_length_of_time(seconds: float, shown: str) -> None:
    assert age(seconds) == shown
