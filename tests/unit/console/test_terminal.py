"""Foreign text never reaches the terminal as anything but text."""

from __future__ import annotations

import ast
import errno
import io
import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from console.cli.safe_console import SafeConsole
from console.cli.terminal import say, say_json, warn
from telemetry.printable import json_safe, printable

ROOT: Final = Path(__file__).parents[3]
HOSTILE: Final = "a\x1b]0;title\x07b\x9b2Jc\u202ed\u2066e\x7ff\rg\x08h\u2028i\ufeffj"
SHOWN: Final = r"a\x1b]0;title\x07b\x9b2Jc\u202ed\u2066e\x7ff\x0dg\x08h\u2028i\ufeffj"


def is_clean(text: str) -> bool:
    """Return True if the only control characters in it are line ends and tabs."""
    controls = {*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
    return not {ord(letter) for letter in text} & controls


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("内容违规\tphoto.jpg\n") == "内容违规\tphoto.jpg\n"


@given(st.text())
def test_what_is_printed_is_text_and_stays_as_it_is_when_printed_again(text: str) -> None:
    assert is_clean(printable(text))
    assert printable(printable(text)) == printable(text)


@given(st.text())
def test_json_keeps_its_value(text: str) -> None:
    document = json_safe(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(document) == {"a": text}
    assert is_clean(document)


def test_lines_and_documents_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    warn(HOSTILE)
    assert capsys.readouterr() == (f"{SHOWN}\n", f"{SHOWN}\n")
    say_json({"detail": HOSTILE, "half": "\ud800"})
    printed = capsys.readouterr().out
    assert is_clean(printed)
    assert json.loads(printed) == {"detail": HOSTILE, "half": "\ud800"}


def test_tables_and_lines_of_rich_are_escaped_and_keep_their_colours() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, width=200, color_system="standard")
    table = Table("what")
    table.add_row(HOSTILE)
    console.print(table)
    console.print(f"[red]BAD[/red] {HOSTILE}", highlight=False)
    printed = out.getvalue()
    assert "\x1b[31m" in printed
    assert printed.count(r"\x1b]0;title") == 2
    for planted in ("\x1b]0;", "\x9b", "\u202e", "\u2066", "\x07"):
        assert planted not in printed


def test_a_full_standard_error_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(errno.ENOSPC, text)

    monkeypatch.setattr("sys.stderr", Full())
    warn("using the environment in .sandbox/env")


def test_commands_print_by_no_other_way() -> None:
    others = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "console/cli").glob("*.py")
        if path.name != "terminal.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _prints(node)
    ]
    assert others == []


def _prints(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in {"echo", "secho"}
    into_a_file = any(keyword.arg == "file" for keyword in call.keywords)
    return isinstance(call.func, ast.Name) and call.func.id in {"print", "Console"} and not into_a_file
