"""Progress of tasks without a live view: for pipes, simple terminals and small ones."""

from __future__ import annotations

import io

import pytest

from console.cli.live_view import Row, RowState
from console.cli.show import show_progress


class Stream(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("terminal", "variables", "live"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "COLUMNS": "40"}, False),
        (True, {"TERM": "xterm", "LINES": "4"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_a_live_view_needs_a_terminal_that_can_show_it(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, variables: dict[str, str], live: bool
) -> None:
    for name, value in {"COLUMNS": "80", "LINES": "24", **variables}.items():
        monkeypatch.setenv(name, value)
    for name in {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"} - variables.keys():
        monkeypatch.delenv(name, raising=False)
    stream = Stream(terminal=terminal)
    monkeypatch.setattr("sys.stderr", stream)
    with show_progress(2) as shown:
        shown.note("starting")
        for number in (0, 1, 1):
            shown.update(number, Row("t" * 32, f"uploading {number}", RowState.RUNNING))
    written = stream.getvalue()
    assert ("\x1b[?25l" in written) is live
    if not live:
        assert written == f"{'t' * 32}  uploading 0\n{'t' * 32}  uploading 1\n"
    if "NO_COLOR" in variables:
        assert "\x1b[3" not in written
