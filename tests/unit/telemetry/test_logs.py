from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import logs, redaction
from telemetry.events import Event
from telemetry.logs import MAX_LINE_BYTES, JsonFormatter
from telemetry.secrets import Secret

log = logs.get("unit.logs")

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    stream = io.StringIO()
    undo = logs.setup(stream, "INFO", "unit")
    try:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        undo()


def test_an_event_is_one_json_line_with_its_fields_at_the_first_level(lines: Lines) -> None:
    log.info(Event.MESSAGE_DONE, took=1.5, task_id="t-1", picture="图\nB", nothing=None)
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "event": "message.done",
        "service": "unit",
        "logger": "unit.logs",
        "took": 1.5,
        "task_id": "t-1",
        "picture": "图\nB",
    }


def test_time_is_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"name": "n", "msg": "m", "created": 1_700_000_000.9996})
    assert json.loads(JsonFormatter("s").format(record))["time"] == "2023-11-14T22:13:21.000Z"


def test_context_reaches_every_line_inside_also_those_of_libraries(lines: Lines) -> None:
    with logs.context(task_id="t-1", stage="clean"):
        with logs.context(stage="poll", trace_id="ab"):
            log.info(Event.MESSAGE_DONE)
        logging.getLogger("some.library").warning("slow: %s", "very")
        copy_context().run(log.info, Event.MESSAGE_DONE)
    log.info(Event.MESSAGE_DONE)
    inner, library, copied, outer = lines()
    assert (inner["task_id"], inner["stage"], inner["trace_id"]) == ("t-1", "poll", "ab")
    assert (library["event"], library["message"], library["stage"]) == ("library.log", "slow: very", "clean")
    assert "trace_id" not in copied
    assert "task_id" not in outer


def test_an_error_comes_with_type_text_code_and_traceback(lines: Lines) -> None:
    with pytest.raises(KeyError) as caught:
        raise KeyError("no such")
    log.error(Event.CALLBACK_FAILED, error=caught.value)
    log.warning(Event.CALLBACK_FAILED, error=caught.value)
    full, short = lines()
    assert (full["level"], full["error_type"], full["error"]) == ("ERROR", "KeyError", "'no such'")
    assert "test_logs.py" in full["stack"]
    assert (short["level"], short["error_type"]) == ("WARNING", "KeyError")
    assert "stack" not in short


def test_the_code_of_our_errors_is_a_field(lines: Lines) -> None:
    error = ValueError("x")
    error.code = "timeout"  # type: ignore[attr-defined]  # our own errors have one
    log.error(Event.CALLBACK_FAILED, error=error)
    assert lines()[0]["code"] == "timeout"


def test_what_a_terminal_would_obey_is_escaped_and_keeps_its_value() -> None:
    hostile = "a\x1b]0;title\x07b\x9b2Jc\u202ed\u2066e\x7ff"
    stream = io.StringIO()
    undo = logs.setup(stream, "INFO", "unit")
    try:
        log.info(Event.MESSAGE_DONE, why=hostile)
        log.warning(Event.MESSAGE_FAILED, error=ValueError(hostile))
        logging.getLogger("some.library").warning("%s", hostile)
    finally:
        undo()
    printed = stream.getvalue()
    assert not set(printed) & set("\x1b\x07\x9b\u202e\u2066\x7f")
    said = [json.loads(line) for line in printed.splitlines()]
    assert [said[0]["why"], said[1]["error"], said[2]["message"]] == [hostile] * 3


def test_levels_below_the_one_asked_for_are_left_out(lines: Lines) -> None:
    log.debug(Event.MESSAGE_DONE)
    assert lines() == []


@pytest.mark.parametrize("name", ["qcloud_cos.cos_client", "httpx", "urllib3.connectionpool", "httpcore.http11"])
def test_libraries_that_print_secrets_are_held_at_warning(lines: Lines, name: str) -> None:
    logging.getLogger(name).info("HTTP Request")
    logging.getLogger(name).warning("slow")
    assert [line["message"] for line in lines()] == ["slow"]


def test_registered_values_are_masked_in_messages_fields_and_tracebacks(lines: Lines) -> None:
    secret = "r3gistered/välue+0"
    redaction.register(Secret(secret))
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError(f"outer {secret}") from ValueError(f"inner {secret}")
    log.error(Event.CALLBACK_FAILED, error=caught.value, seen=[{"a": secret}])
    logging.getLogger("lib").error("with %r", {"k": secret}, exc_info=ValueError(secret))
    with logs.context(bound=secret):
        log.info(Event.MESSAGE_DONE)
    shown = json.dumps(lines(), ensure_ascii=False)
    assert len(lines()) == 3
    assert "r3gistered" not in shown
    assert "inner ***" in shown


def test_headers_and_urls_are_masked_in_lines_of_libraries(lines: Lines) -> None:
    logging.getLogger("lib").warning("headers: %s", {"Authorization": "q-sign-algorithm=sha1&q-signature=abc123"})
    logging.getLogger("lib").warning("GET https://h/x?q-signature=abc123")
    assert "abc123" not in json.dumps(lines())


def test_a_field_cannot_hide_what_every_line_says(lines: Lines) -> None:
    log.info(Event.MESSAGE_DONE, level="mine", time=1, event="other")
    (line,) = lines()
    assert (line["level"], line["event"], line["level_"], line["event_"]) == ("INFO", "message.done", "mine", "other")


def test_a_long_value_is_cut_with_a_mark_and_keeps_both_ends(lines: Lines) -> None:
    log.info(Event.MESSAGE_DONE, big="a" * 5000 + "z" * 5000, small="s")
    (line,) = lines()
    assert line["small"] == "s"
    assert line["big"].startswith("aaa")
    assert line["big"].endswith("zzz")
    assert "[6000 characters cut]" in line["big"]


def test_so_many_fields_that_nothing_helps_leave_the_core(lines: Lines) -> None:
    log.info(Event.MESSAGE_DONE, **{f"field_{n}": "x" * 100 for n in range(500)})
    (line,) = lines()
    assert (line["event"], line["cut_fields"]) == ("message.done", 500)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=8), st.integers(1, 1500))
def test_every_line_is_json_and_short_whatever_is_said(fields: dict[str, Any], times: int) -> None:
    fields["long"] = "界\u2028\ud800\\\"'\n" * times
    record = logging.makeLogRecord(
        {"name": "n" * 300, "msg": "x", "scf_event": "message.done", "scf_fields": fields, "levelname": "INFO"}
    )
    line = JsonFormatter("s" * 300).format(record)
    assert len(line.encode()) <= MAX_LINE_BYTES
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"] == "message.done"


def test_a_library_whose_arguments_do_not_fit_is_still_heard() -> None:
    record = logging.makeLogRecord({"name": "lib", "msg": "%d of %s", "args": ("one",)})
    assert json.loads(JsonFormatter("unit").format(record))["message"] == "%d of %s"


def test_a_line_that_cannot_be_written_is_told_without_its_content() -> None:
    class Once(io.StringIO):
        failed = False

        def write(self, text: str) -> int:
            if not self.failed:
                self.failed = True
                raise UnicodeEncodeError("ascii", text, 0, 1, "no")
            return super().write(text)

    stream = Once()
    undo = logs.setup(stream, "INFO", "unit")
    try:
        log.info(Event.MESSAGE_DONE, token="h1dden-value")
    finally:
        undo()
    assert json.loads(stream.getvalue()) == {"level": "ERROR", "event": "log.lost", "error_type": "UnicodeEncodeError"}


def test_warnings_pass_the_filter(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("token=h1dden-value", UserWarning, stacklevel=1)
    logging.captureWarnings(capture=False)
    assert "token=***" in lines()[0]["message"]


def test_an_exception_nobody_caught_passes_the_filter(lines: Lines) -> None:
    error = ValueError("token=h1dden-value")
    sys.excepthook(ValueError, error, None)
    thread = threading.Thread(target=lambda: (_ for _ in ()).throw(error), name="worker-7")
    thread.start()
    thread.join()
    main, other = lines()
    assert (main["event"], main["error"]) == ("process.crashed", "token=***")
    assert (other["event"], other["thread"]) == ("process.crashed", "worker-7")
    assert "h1dden" not in json.dumps([main, other])


def test_setup_can_be_undone() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook, logging.getLogger("httpx").level)
    undo = logs.setup(io.StringIO(), "DEBUG", "unit")
    assert len(root.handlers) == 1
    undo()
    after = (root.handlers[:], root.level, sys.excepthook, threading.excepthook, logging.getLogger("httpx").level)
    assert after == before


def test_a_level_that_does_not_exist_is_refused_and_changes_nothing() -> None:
    before = logging.getLogger().handlers[:]
    with pytest.raises(ValueError, match="LOUD"):
        logs.setup(io.StringIO(), "LOUD", "unit")
    assert logging.getLogger().handlers == before


def test_event_names_are_unique_dotted_and_explained() -> None:
    names = [event.value for event in Event]
    assert len(set(names)) == len(names)
    for event in Event:
        assert event.value.replace(".", "").replace("_", "").isalpha()
        assert event.value.count(".") == 1
        assert event.meaning
        assert event.name == event.value.replace(".", "_").upper()
