"""Logs: one line for each event with its fields, as JSON with the fields at the first level, or as text for people.

Tencent's log service splits a JSON line into its first-level fields and cuts a line at 8 KB (CLS: SCF 日志投递配置,
limits of one request). Lines here are always shorter; long values are cut in the middle, with a mark.

    log = logs.get(__name__)
    with logs.context(task_id=message.task, stage="clean"):
        log.info(Event.MESSAGE_DONE, took=1.25)
        log.error(Event.CALLBACK_FAILED, error=error)

A line logged inside a trace has its `trace_id`, and the `span_id` of the surrounding span.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Literal, TextIO, TypeAlias, final

from telemetry import tracing
from telemetry.events import Event
from telemetry.printable import json_safe
from telemetry.redaction import redact
from telemetry.text_line import text_line

__all__ = [
    "MAX_LINE_BYTES",
    "JsonFormatter",
    "Log",
    "Style",
    "TextFormatter",
    "context",
    "cut",
    "get",
    "setup",
    "style_of",
]

MAX_LINE_BYTES: Final = 8000
"""Longest line in bytes, without its end: under the 8 KB at which the log service cuts."""

_BOUNDS: Final = (4000, 2000, 1000, 500, 250, 100, 40)
"""Longest value in characters: the first limit is used with which the line fits."""

_LONG: Final = 500
_STACK: Final = 8000
"""Longest value, and longest traceback, in characters, of a line for a person."""

_CORE: Final = frozenset({"time", "level", "event", "service", "logger"})
_QUIET: Final = ("httpcore", "httpx", "opentelemetry", "pulsar", "qcloud_cos", "requests", "urllib3")
"""Libraries that log URLs and headers at INFO; qcloud_cos logs even the signing key at DEBUG."""

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})

Style: TypeAlias = Literal["json", "text", "colour"]
"""Style of log lines: JSON, or text for people, which may have colours."""

_encoder: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@final
class Log:
    """Log of one module."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: Event, /, **fields: object) -> None:
        """Log details for development."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._emit(logging.DEBUG, event, None, fields)

    def info(self, event: Event, /, **fields: object) -> None:
        """Log a normal event."""
        self._emit(logging.INFO, event, None, fields)

    def warning(self, event: Event, /, *, error: BaseException | None = None, **fields: object) -> None:
        """Log a problem that is handled; of an error, its type and text."""
        if error is not None:
            fields = {**fields, **_error_fields(error)}
        self._emit(logging.WARNING, event, None, fields)

    def error(self, event: Event, /, *, error: BaseException | None = None, **fields: object) -> None:
        """Log a problem for an operator; of an error, its traceback too."""
        self._emit(logging.ERROR, event, error, fields)

    def _emit(self, level: int, event: Event, error: BaseException | None, fields: Mapping[str, object]) -> None:
        logger = self._logger
        if not logger.isEnabledFor(level):
            return
        info = (type(error), error, error.__traceback__) if error is not None else None
        extra = {"scf_event": event.value, "scf_fields": fields}
        # The record is made here, because `logger.log` searches the stack for a file and line, which our lines do not
        # contain.
        logger.handle(logger.makeRecord(logger.name, level, "", 0, event.value, (), info, extra=extra))


def get(name: str) -> Log:
    """Return the log of a module; `name` is its `__name__`."""
    return Log(logging.getLogger(name))


def context(fields: Mapping[str, object] = _NOTHING, /, **more: object) -> contextlib.AbstractContextManager[None]:
    """Add fields to every line logged inside, by this task and those it starts, and by libraries."""
    return _Bound({**fields, **more} if more else fields)


@final
class _Bound:
    """Fields of one context. Most messages log few lines, so outer fields are merged only when a line is logged."""

    __slots__ = ("_fields", "_outer", "_token")

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._outer = _bound.get()
        self._token = _bound.set(self)

    def __exit__(self, *_: object) -> None:
        _bound.reset(self._token)

    def merged(self) -> dict[str, object]:
        """Return the fields of this context and the outer ones; inner fields win."""
        outer = self._outer.merged() if self._outer is not None else {}
        return {**outer, **self._fields}


_bound: Final[contextvars.ContextVar[_Bound | None]] = contextvars.ContextVar("telemetry_fields", default=None)


def _context_fields() -> Mapping[str, object]:
    bound = _bound.get()
    return bound.merged() if bound is not None else _NOTHING


def style_of(stream: TextIO, log_format: str, environ: Mapping[str, str]) -> Style:
    """Return the style of the lines on a stream: text for a person at a terminal, JSON for a log service.

    Args:
        stream: the stream.
        log_format: `json` or `text`; empty decides by the stream.
        environ: environment with NO_COLOR (no-color.org) and TERM.
    """
    is_terminal = stream.isatty()
    if log_format == "json" or not (log_format or is_terminal):
        return "json"
    plain = not is_terminal or environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb"
    return "text" if plain else "colour"


def setup(stream: TextIO, level: str, service: str, style: Style = "json") -> Callable[[], None]:
    """Send all logs of the process through the redaction filter to `stream`, and nowhere else.

    Warnings and uncaught exceptions are included, so that no traceback bypasses the filter.

    Args:
        stream: usually standard output.
        level: lowest level to log, such as `INFO`; libraries that log secrets stay at WARNING.
        service: name of the function or process, a field of each line.
        style: style of the lines; see `style_of`.

    Returns:
        A function that restores the previous configuration.

    Raises:
        ValueError: unknown level.
    """
    root = logging.getLogger()
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter(service) if style == "json" else TextFormatter(colour=style == "colour"))
    quiet = [logging.getLogger(name) for name in _QUIET]
    before = (root.handlers[:], root.level, [one.level for one in quiet], sys.excepthook, threading.excepthook)
    root.setLevel(level.upper())
    root.handlers[:] = [handler]
    for one in quiet:
        one.setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread

    def undo() -> None:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        for one, old in zip(quiet, before[2], strict=True):
            one.setLevel(old)
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook = before[3], before[4]

    return undo


@final
class JsonFormatter(logging.Formatter):
    """Formats a record as one redacted line of JSON.

    Args:
        service: value of the field `service` of each line.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        core = {
            "time": _iso(record.created),
            "level": record.levelname,
            "event": _event_of(record),
            "service": cut(self._service, _BOUNDS[-2]),
            "logger": cut(record.name, _BOUNDS[-2]),
        }
        return _line(core, {_first_level(name): value for name, value in _fields_of(record, self).items()})


@final
class TextFormatter(logging.Formatter):
    """Formats a record as one redacted line for a person, with a traceback below it.

    Args:
        colour: mark the level with a colour of the terminal.
    """

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        fields = _redacted(_fields_of(record, self))
        bounded = {
            name: _bounded(_joined(value), _STACK if name == "stack" else _LONG) for name, value in fields.items()
        }
        # The date is that of the terminal's session; the time is UTC, as everywhere.
        moment = _iso(record.created).partition("T")[2]
        return text_line(moment, record.levelname, _event_of(record), bounded, colour=self._colour)


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's signature
        """Write that a line was lost; logging's default would print the record's arguments unredacted."""
        kind = sys.exc_info()[0]
        # The stream itself may have failed; then the loss cannot be reported.
        with contextlib.suppress(Exception):
            name = kind.__name__ if kind is not None else ""
            self.stream.write(json.dumps({"level": "ERROR", "event": "log.lost", "error_type": name}) + "\n")
            self.flush()


def cut(text: str, limit: int) -> str:
    """Shorten a text to about `limit` characters: its beginning, a mark with the number of characters cut, its end."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    head = limit - tail
    return f"{text[:head]}…[{len(text) - limit} characters cut]…{text[-tail:]}"


def _event_of(record: logging.LogRecord) -> str:
    event: str = getattr(record, "scf_event", Event.LIBRARY_LOG.value)
    return event


def _fields_of(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, object]:
    """Return the fields of a record that have a value: those of its trace and context, its own, and its error's."""
    own: Mapping[str, object] | None = getattr(record, "scf_fields", None)
    if own is None:
        own = {"message": _message(record)}
    fields: dict[str, object] = {**tracing.fields(), **_context_fields(), **own}
    if record.exc_info and record.exc_info[1] is not None:
        fields |= {**_error_fields(record.exc_info[1]), "stack": formatter.formatException(record.exc_info)}
    return {name: value for name, value in fields.items() if value is not None}


def _redacted(fields: Mapping[str, object]) -> dict[str, object]:
    plain = redact(dict(fields))
    assert isinstance(plain, dict)  # noqa: S101 - a mapping stays a mapping
    return plain


def _line(core: Mapping[str, object], fields: Mapping[str, object]) -> str:
    plain = _redacted(fields)
    for bound in _BOUNDS:
        line = _encode({**core, **{name: _bounded(value, bound) for name, value in plain.items()}})
        if len(line) <= MAX_LINE_BYTES:
            return line.decode()
    return _encode({**core, "cut_fields": len(plain)}).decode()


def _bounded(value: object, bound: int) -> object:
    if isinstance(value, str):
        return cut(value, bound)
    if isinstance(value, (dict, list)):
        text = _encoder.encode(value)
        return value if len(text) <= bound else cut(text, bound)
    return value


def _joined(value: object) -> object:
    """Return a list of texts as one text."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return value


def _encode(value: Mapping[str, object]) -> bytes:
    text = _encoder.encode(value)
    # A lone surrogate becomes its JSON escape.
    return json_safe(text).encode("utf-8", "backslashreplace")


def _first_level(name: str) -> str:
    return f"{name}_" if name in _CORE else name


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # The library's format string and arguments do not match; the format string alone still helps.
        return str(record.msg)


def _error_fields(error: BaseException) -> dict[str, object]:
    return {"error_type": type(error).__name__, "error": error, "code": getattr(error, "code", None)}


def _iso(seconds: float) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_second(whole)}.{milliseconds:03d}Z"


@functools.lru_cache(maxsize=4)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def _uncaught(_kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    get("uncaught").error(Event.PROCESS_CRASHED, error=error.with_traceback(trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        name = args.thread.name if args.thread is not None else ""
        get("uncaught").error(Event.PROCESS_CRASHED, error=args.exc_value, thread=name)
