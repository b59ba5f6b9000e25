"""Traces: context in the form of W3C Trace Context (section 3.2, `traceparent`), and spans of the work.

A task's trace begins in the producer and travels in each message's header, so a message's span is a child of the span
that published it. Without a tracer no spans are recorded, but the context still travels.

    with span(SpanName.CONSUME, header.traceparent, of=header.stage, task_id=header.task):
        with span(SpanName.AUDIT, pictures=12):   # child of the one above
            ...
        note(outcome="done")                      # attribute of the surrounding span
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol, final

from telemetry.instruments import SpanKind, SpanName
from telemetry.redaction import redact

__all__ = [
    "Finished",
    "Plain",
    "Sink",
    "Tracer",
    "child",
    "current",
    "failed",
    "fields",
    "install",
    "is_valid",
    "new_traceparent",
    "note",
    "onward",
    "span",
    "span_id",
    "trace_id",
    "under",
]

Plain = str | int | float | bool
"""Types of a span's attributes."""

_LONGEST: Final = 1000
"""Longest attribute in characters: traces are kept for weeks and paid by the byte."""

_SHAPE: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<rest>-.*)?\Z"
)


_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Finished:
    """Finished span. All its values have passed the redaction filter."""

    name: str
    kind: SpanKind
    trace_id: str
    span_id: str
    parent_id: str
    """Span id of its parent; empty for the first span of a trace."""
    link: str
    """Traceparent of the span in another trace that caused it; empty for none."""
    start_ns: int
    """Nanoseconds since the epoch."""
    duration_ns: int
    attributes: Mapping[str, Plain]
    failed: bool
    """True after an error; the attributes `error_type` and `error` describe it."""


class Sink(Protocol):
    """Receiver of finished spans. It must neither block nor raise."""

    def ended(self, span: Finished) -> None:
        """Receive a span that has ended."""
        ...


class _Position:
    """Current position in a trace that comes from elsewhere; no span is recorded.

    It is a class, which is faster than a generator: every message enters one, with or without tracing.
    """

    __slots__ = ("_token", "traceparent")

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> str:
        self._token = _current.set(self)
        return self.traceparent

    def __exit__(self, kind: object, error: BaseException | None, trace: object, /) -> None:
        _current.reset(self._token)


_current: Final[contextvars.ContextVar[_Position | None]] = contextvars.ContextVar("telemetry_span", default=None)


@final
class Tracer:
    """Records spans.

    Args:
        sinks: receivers of the spans.
        clock: nanoseconds since the epoch.
        steady: nanoseconds of a clock that never goes back.
        random: returns a number of random bytes.
    """

    def __init__(
        self,
        *sinks: Sink,
        clock: Callable[[], int] = time.time_ns,
        steady: Callable[[], int] = time.perf_counter_ns,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._sinks = sinks
        self._clock = clock
        self._steady = steady
        self._random = random

    def span(
        self, name: SpanName, parent: str, link: str, of: str, attributes: dict[str, object]
    ) -> contextlib.AbstractContextManager[str]:
        """Record one span, from now until it is exited; see `telemetry.tracing.span`."""
        traceparent = child(parent, self._random)
        start, steady = self._clock(), self._steady()

        def ended(recorded: _Span) -> None:
            done = Finished(
                name=f"{name.value} {of}" if of else name.value,
                kind=name.kind,
                trace_id=trace_id(traceparent),
                span_id=span_id(traceparent),
                parent_id=span_id(parent),
                link=link if is_valid(link) else "",
                start_ns=start,
                duration_ns=self._steady() - steady,
                attributes=_plain(recorded.attributes),
                failed=recorded.failed,
            )
            for sink in self._sinks:
                sink.ended(done)

        return _Span(traceparent, attributes, ended)


@final
class _Span(_Position):
    """Current position in a span that a tracer records."""

    __slots__ = ("_ended", "attributes", "failed")

    def __init__(self, traceparent: str, attributes: dict[str, object], ended: Callable[[_Span], None]) -> None:
        super().__init__(traceparent)
        self.attributes = attributes
        self.failed = False
        self._ended = ended

    def fail(self, error: BaseException) -> None:
        """Mark the span as failed by an error."""
        self.failed = True
        self.attributes |= {"error_type": type(error).__name__, "error": error, "code": getattr(error, "code", None)}

    def __exit__(self, kind: object, error: BaseException | None, trace: object, /) -> None:
        super().__exit__(kind, error, trace)
        if error is not None:
            self.fail(error)
        self._ended(self)


class _Installed:
    tracer: Tracer | None = None


_installed: Final = _Installed()


def install(tracer: Tracer | None) -> Tracer | None:
    """Record spans with `tracer` from now on; None stops. Returns the previous tracer."""
    before, _installed.tracer = _installed.tracer, tracer
    return before


def span(
    name: SpanName, parent: str | None = None, *, link: str = "", of: str = "", **attributes: object
) -> contextlib.AbstractContextManager[str]:
    """Record one piece of work. Returns its traceparent, for work started elsewhere on its behalf.

    Args:
        name: name of the catalogue.
        parent: traceparent of the parent; None for the surrounding span; an empty one begins a new trace.
        link: traceparent of the cause, if it is in another trace.
        of: second word of the span's name, for members that have one.
        attributes: attributes of the catalogue; None is left out.
    """
    above = current() if parent is None else parent
    if _installed.tracer is None or _is_dropped(above):
        return under(above)
    return _installed.tracer.span(name, above, link, of, attributes)


def under(traceparent: str) -> contextlib.AbstractContextManager[str]:
    """Assign the work inside to a trace context, without a span of its own."""
    return _Position(traceparent)


def note(attributes: Mapping[str, object] = _NOTHING, /, **more: object) -> None:
    """Add attributes to the surrounding span, if one is recorded."""
    position = _current.get()
    if isinstance(position, _Span):
        position.attributes |= {**attributes, **more}


def failed(error: BaseException) -> None:
    """Mark the surrounding span as failed by an error that is handled inside it."""
    position = _current.get()
    if isinstance(position, _Span):
        position.fail(error)


def current() -> str:
    """Return the traceparent of the current position; empty outside of every trace."""
    position = _current.get()
    return position.traceparent if position is not None else ""


def onward(traceparent: str) -> str:
    """Return the traceparent for a new message: the current position if it is in that trace, else `traceparent`."""
    here = current()
    return here if trace_id(here) == trace_id(traceparent) else traceparent


def fields() -> dict[str, str]:
    """Return `trace_id`, and the `span_id` of a recorded span, for the log lines inside it."""
    position = _current.get()
    found = _match(position.traceparent) if position is not None else None
    if position is None or found is None:
        return {}
    return {"trace_id": found["trace"], **({"span_id": found["span"]} if isinstance(position, _Span) else {})}


def new_traceparent(random: Callable[[int], bytes] = os.urandom) -> str:
    """Begin a sampled trace.

    Args:
        random: returns a number of random bytes.
    """
    return f"00-{_hex(random, 16)}-{_hex(random, 8)}-01"


def child(traceparent: str, random: Callable[[int], bytes] = os.urandom) -> str:
    """Return a new span in the same trace; an invalid traceparent begins a new trace, as the standard requires."""
    found = _match(traceparent)
    if found is None:
        return new_traceparent(random)
    return f"00-{found['trace']}-{_hex(random, 8)}-{int(found['flags'], 16) & 1:02x}"


def trace_id(traceparent: str) -> str:
    """Return the 32 hex digits of the trace; empty if the traceparent is invalid."""
    found = _match(traceparent)
    return found["trace"] if found else ""


def span_id(traceparent: str) -> str:
    """Return the 16 hex digits of the span; empty if the traceparent is invalid."""
    found = _match(traceparent)
    return found["span"] if found else ""


def is_valid(traceparent: str) -> bool:
    """Return True if the standard accepts it. A later version may have more fields; version 00 may not."""
    return _match(traceparent) is not None


def _match(traceparent: str) -> re.Match[str] | None:
    found = _SHAPE.match(traceparent)
    if found and found["rest"] is not None and traceparent.startswith("00"):
        return None
    return found


def _is_dropped(traceparent: str) -> bool:
    """Return True if an earlier span decided not to record this trace."""
    found = _match(traceparent)
    return found is not None and not int(found["flags"], 16) & 1


def _hex(random: Callable[[int], bytes], size: int) -> str:
    value = random(size)
    # The standard forbids the value of all zeros.
    return (value if any(value) else value[:-1] + b"\x01").hex()


def _plain(attributes: Mapping[str, object]) -> dict[str, Plain]:
    values = redact({name: value for name, value in attributes.items() if value is not None})
    assert isinstance(values, dict)  # noqa: S101 - a mapping stays a mapping
    return {name: _short(value) for name, value in values.items()}


def _short(value: object) -> Plain:
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(text)[:_LONGEST]
