"""The first screen: `scf-workers demo` in a real pseudo-terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from tests.support.patience import PATIENCE_S
from tests.support.screen import Terminal

ROOT: Final = Path(__file__).parents[2]
DEMO: Final = (sys.executable, "-m", "console", "demo", "--kind", "basic_clean", "photo.jpg")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * PATIENCE_S)]

Open = Callable[..., Terminal]


def environ(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Image.open(ROOT / "sandbox/photos/portrait.jpg") as picture:
        picture.resize((150, 200)).save(tmp_path / "photo.jpg")
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    return tmp_path


@pytest.fixture
def opened(folder: Path) -> Iterator[Open]:
    terminals: list[Terminal] = []

    def start(*more: str, columns: int, rows: int, **variables: str) -> Terminal:
        terminals.append(Terminal([*DEMO, *more], columns, rows, folder, environ(**variables)))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_in_a_narrow_terminal_the_view_is_calm_and_the_report_cuts_nothing(opened: Open, folder: Path) -> None:
    terminal = opened("text.jpg", "--tasks", "4", columns=60, rows=8)
    terminal.read_until(None, 2 * PATIENCE_S)
    screen = terminal.screen
    assert terminal.process.returncode == 0, screen.text
    assert (screen.cursor_shown, screen.coloured) == (True, True)
    assert any("of 4 ended" in lines[0] for lines in terminal.frames)
    assert not any('"event"' in line or "INFO" in line for lines in terminal.frames for line in lines)
    # The view was erased and never scrolled: the output begins with the first line of the table.
    *_, rows = screen.text.partition("task ")
    assert screen.text.startswith("task ")
    ids = [line.split()[0] for line in rows.splitlines()[1:5]]
    assert all(len(one) == 32 and (folder / "out" / one).exists() is (n % 2 == 0) for n, one in enumerate(ids))
    flat = " ".join(screen.text.split())
    assert "2 tasks failed: bad_picture" in flat
    assert (
        "a right end: every task got exactly one delivered verdict, and the 2 failed tasks were refunded once" in flat
    )
    assert "log of workers and stand-ins: out/workers.log" in flat
    log = (folder / "out/workers.log").read_text(encoding="utf-8")
    assert "INFO    task.accepted" in log
    assert f"INFO    callback.delivered {ids[0]} " in log


def test_ctrl_c_ends_it_with_one_sentence(opened: Open) -> None:
    terminal = opened(columns=80, rows=24, NO_COLOR="1")
    terminal.read_until(lambda screen: "uploaded" in screen.text or "accepted" in screen.text, PATIENCE_S)
    terminal.interrupt()
    terminal.read_until(None, PATIENCE_S)
    assert terminal.process.returncode == 130
    assert (terminal.screen.cursor_shown, terminal.screen.coloured) == (True, False)
    assert " ".join(terminal.screen.text.split()) == (
        "scf-workers: interrupted; the workers and the stand-ins have stopped, and their log is out/workers.log"
    )
