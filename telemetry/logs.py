"""JSON logs: one line an event, its fields at the first level.

Tencent's log service splits a line that is one JSON object into first-level fields and cuts a line at 8 KB (CLS: SCF
日志投递配置, limits of one request), so a line here is always shorter; long values are cut in the middle, with a mark.

    log = logs.get(__name__)
    with logs.context(task_id=message.task, stage="clean"):
        log.info(Event.MESSAGE_DONE, took=1.25)
        log.error(Event.CALLBACK_FAILED, error=error)

A line logged inside a trace has its `trace_id`, and the `span_id` of the span that surrounds it.
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
from typing import Final, TextIO, final

from telemetry import tracing
from telemetry.events import Event
from telemetry.printable import json_safe
from telemetry.redaction import redact

__all__ = ["MAX_LINE_BYTES", "JsonFormatter", "Log", "context", "cut", "get", "setup"]

MAX_LINE_BYTES: Final = 8000
"""Bytes of one line without its end: under the 8 KB at which the log service cuts."""

_BOUNDS: Final = (4000, 2000, 1000, 500, 250, 100, 40)
"""Characters a value may have: the first with which the line fits."""

_CORE: Final = frozenset({"time", "level", "event", "service", "logger"})
_QUIET: Final = ("httpcore", "httpx", "opentelemetry", "pulsar", "qcloud_cos", "requests", "urllib3")
"""Libraries that print URLs and headers at INFO, and qcloud_cos even the signing key at DEBUG."""

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})

_encoder: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@final
class Log:
    """Logs events of one module."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: Event, /, **fields: object) -> None:
        """For a developer at work."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._emit(logging.DEBUG, event, None, fields)

    def info(self, event: Event, /, **fields: object) -> None:
        """What happened."""
        self._emit(logging.INFO, event, None, fields)

    def warning(self, event: Event, /, *, error: BaseException | None = None, **fields: object) -> None:
        """What went wrong and is dealt with; an error is told by type and text."""
        if error is not None:
            fields = {**fields, **_error_fields(error)}
        self._emit(logging.WARNING, event, None, fields)

    def error(self, event: Event, /, *, error: BaseException | None = None, **fields: object) -> None:
        """What a person should look at; an error is told with its traceback."""
        self._emit(logging.ERROR, event, error, fields)

    def _emit(self, level: int, event: Event, error: BaseException | None, fields: Mapping[str, object]) -> None:
        logger = self._logger
        if not logger.isEnabledFor(level):
            return
        info = (type(error), error, error.__traceback__) if error is not None else None
        extra = {"scf_event": event.value, "scf_fields": fields}
        # Made here, because `logger.log` walks the stack for a file and a line that no line of ours tells.
        logger.handle(logger.makeRecord(logger.name, level, "", 0, event.value, (), info, extra=extra))


def get(name: str) -> Log:
    """The log of a module; `name` is its `__name__`."""
    return Log(logging.getLogger(name))


def context(fields: Mapping[str, object] = _NOTHING, /, **more: object) -> contextlib.AbstractContextManager[None]:
    """Add fields to every line logged inside, by this task and those it starts; libraries' lines included."""
    return _Bound({**fields, **more} if more else fields)


@final
class _Bound:
    """Fields, and those bound around them. Every message binds some, few tell of it: a line gathers them, not this."""

    __slots__ = ("_fields", "_outer", "_token")

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._outer = _bound.get()
        self._token = _bound.set(self)

    def __exit__(self, *_: object) -> None:
        _bound.reset(self._token)

    def gathered(self) -> dict[str, object]:
        """All of them, the inner ones first in rank."""
        outer = self._outer.gathered() if self._outer is not None else {}
        return {**outer, **self._fields}


_bound: Final[contextvars.ContextVar[_Bound | None]] = contextvars.ContextVar("telemetry_fields", default=None)


def _gathered() -> Mapping[str, object]:
    bound = _bound.get()
    return bound.gathered() if bound is not None else _NOTHING


def setup(stream: TextIO, level: str, service: str) -> Callable[[], None]:
    """Send everything the process logs through the filter to `stream`, and nowhere else.

    Warnings and exceptions that nobody caught come along, so that no traceback goes past the filter.

    Args:
        stream: usually standard output.
        level: least level logged, such as `INFO`; libraries that print secrets stay at WARNING.
        service: name of the function or process, a field of each line.

    Returns:
        A function that puts everything back.

    Raises:
        ValueError: no such level.
    """
    root = logging.getLogger()
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter(service))
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
    """Makes a record one redacted line of JSON.

    Args:
        service: the field `service` of each line.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        event = getattr(record, "scf_event", Event.LIBRARY_LOG.value)
        own: Mapping[str, object] | None = getattr(record, "scf_fields", None)
        if own is None:
            own = {"message": _message(record)}
        fields: dict[str, object] = {**tracing.fields(), **_gathered(), **own}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= {**_error_fields(record.exc_info[1]), "stack": self.formatException(record.exc_info)}
        core = {
            "time": _iso(record.created),
            "level": record.levelname,
            "event": event,
            "service": cut(self._service, _BOUNDS[-2]),
            "logger": cut(record.name, _BOUNDS[-2]),
        }
        return _line(core, {_first_level(name): value for name, value in fields.items() if value is not None})


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's signature
        """Say that a line was lost; the default would print the record's arguments unredacted."""
        kind = sys.exc_info()[0]
        # The stream itself may be what failed, and then there is nobody left to tell.
        with contextlib.suppress(Exception):
            name = kind.__name__ if kind is not None else ""
            self.stream.write(json.dumps({"level": "ERROR", "event": "log.lost", "error_type": name}) + "\n")
            self.flush()


def cut(text: str, limit: int) -> str:
    """At most about `limit` characters: the beginning, a mark that tells how many were left out, and the end."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    head = limit - tail
    return f"{text[:head]}…[{len(text) - limit} characters cut]…{text[-tail:]}"


def _line(core: Mapping[str, object], fields: Mapping[str, object]) -> str:
    plain = redact(dict(fields))
    assert isinstance(plain, dict)  # noqa: S101 - a mapping stays a mapping
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
        # A library's format string and arguments do not fit each other; its text alone still helps.
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
