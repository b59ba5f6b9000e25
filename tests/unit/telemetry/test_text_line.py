"""Log lines for people: short, in one style, redacted, and no foreign text can pose as another line."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import logs, redaction
from telemetry.events import Event
from telemetry.printable import printable
from telemetry.secrets import Secret
from telemetry.text_line import text_line

log = logs.get("unit.text")

Printed = Callable[[], list[str]]


@pytest.fixture
def printed() -> Iterator[Printed]:
    stream = io.StringIO()
    undo = logs.setup(stream, "INFO", "unit", "text")
    try:
        yield lambda: stream.getvalue().splitlines()
    finally:
        undo()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "log_format", "environ", "style"),
    [
        (io.StringIO(), "", {"TERM": "xterm"}, "json"),
        (io.StringIO(), "text", {"TERM": "xterm"}, "text"),
        (io.StringIO(), "json", {}, "json"),
        (Terminal(), "", {"TERM": "xterm"}, "colour"),
        (Terminal(), "text", {"TERM": "xterm"}, "colour"),
        (Terminal(), "json", {"TERM": "xterm"}, "json"),
        (Terminal(), "", {"TERM": "dumb"}, "text"),
        (Terminal(), "", {}, "text"),
        (Terminal(), "", {"TERM": "xterm", "NO_COLOR": "1"}, "text"),
        (Terminal(), "", {"TERM": "xterm", "NO_COLOR": ""}, "colour"),
    ],
)
def test_the_style_is_the_setting_or_that_of_the_stream(
    stream: io.StringIO, log_format: str, environ: dict[str, str], style: str
) -> None:
    assert logs.style_of(stream, log_format, environ) == style


def test_a_line_has_time_level_event_task_and_the_other_fields(printed: Printed) -> None:
    with logs.context(task_id="t-1", user_id="u-1", stage="clean", trace_id="ab"):
        log.info(Event.MESSAGE_DONE, took=1.25, outcome="next", good=True, why="two words")
    log.warning(Event.WAKE_PUBLISHED, trace_id="cd", step=0, run=1, code="", topics=["poll", "wake"], records=0)
    first, second = printed()
    assert (first[8], first[12:14]) == (".", "Z ")
    assert first[14:] == 'INFO    message.done       t-1 clean took=1.25 outcome=next good=true why="two words"'
    assert second.partition(" ")[2] == "WARNING wake.published     trace_id=cd run=1 topics=poll,wake records=0"


def test_an_error_has_its_traceback_below_it(printed: Printed) -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        raise ValueError("bad\n12:00:00.000Z INFO forged")
    log.error(Event.CALLBACK_FAILED, error=caught.value)
    logging.getLogger("lib").warning("slow: %s", "very")
    head, *below, library = printed()
    assert 'error="bad\\n12:00:00.000Z INFO forged"' in head
    assert below[0] == "    | Traceback (most recent call last):"
    assert all(line.startswith("    | ") for line in below)
    assert library.partition(" ")[2] == 'WARNING library.log        message="slow: very"'


def test_secrets_are_masked_as_in_json(printed: Printed) -> None:
    redaction.register(Secret("r3gistered+text"))
    log.error(Event.CALLBACK_FAILED, error=ValueError("r3gistered+text"), seen=[{"a": "r3gistered+text"}])
    logging.getLogger("lib").warning("GET https://h/x?q-signature=abc123 %s", {"Authorization": "Bearer abcdefgh"})
    text = "\n".join(printed())
    assert "***" in text
    assert [word for word in ("r3gistered", "abc123", "abcdefgh") if word in text] == []


def test_a_long_value_is_cut_with_a_mark(printed: Printed) -> None:
    log.info(Event.MESSAGE_DONE, big="a" * 5000)
    (line,) = printed()
    assert len(line) < 700
    assert "characters cut]" in line


@given(st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), st.text(), max_size=6))
def test_whatever_the_fields_a_line_is_one_printable_line(fields: dict[str, str]) -> None:
    fields.pop("stack", None)
    line = text_line("12:00:00.000Z", "INFO", "message.done", fields)
    assert printable(line) == line
    assert len(line.splitlines()) == 1
    assert "\t" not in line
    assert line.startswith("12:00:00.000Z INFO    message.done")


def test_a_level_has_its_colour_only_in_a_terminal() -> None:
    assert text_line("t", "ERROR", "x.y", {}, colour=True) == "t \x1b[31mERROR  \x1b[0m x.y"
    assert text_line("t", "INFO", "x.y", {}, colour=True) == text_line("t", "INFO", "x.y", {}) == "t INFO    x.y"
