"""Traces: context as W3C Trace Context (section 3.2, `traceparent`) writes it, and spans of the work done in it.

A task's trace begins in the producer and travels in each message's header, so every message is a child of the one that
was worked on when it was published. Until a tracer is installed nothing is recorded, and the context still travels.

    with span(SpanName.CONSUME, header.traceparent, of=header.stage, task_id=header.task):
        with span(SpanName.AUDIT, pictures=12):   # below the one above
            ...
        note(outcome="done")                      # of the span that surrounds it
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
"""What an attribute of a span may be."""

_LONGEST: Final = 1000
"""Characters of an attribute: traces are kept for weeks and paid for by the byte."""

_SHAPE: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<rest>-.*)?\Z"
)


_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Finished:
    """A span that has ended. Nothing secret is in it: everything has passed the redaction filter."""

    name: str
    kind: SpanKind
    trace_id: str
    span_id: str
    parent_id: str
    """Span id of its parent; empty for the first one of a trace."""
    link: str
    """Traceparent of the span, in another trace, that caused it; empty for none."""
    start_ns: int
    """Nanoseconds since the epoch."""
    duration_ns: int
    attributes: Mapping[str, Plain]
    failed: bool
    """Whether it met an error; `error_type` and `error` among the attributes say which."""


class Sink(Protocol):
    """Takes finished spans. It must neither block nor raise."""

    def ended(self, span: Finished) -> None:
        """One span has ended."""
        ...


class _Place:
    """Where we are while it is entered: below a context that came from outside, and nobody records.

    A class rather than a generator: every message enters one, with tracing or without.
    """

    __slots__ = ("_token", "traceparent")

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> str:
        self._token = _here.set(self)
        return self.traceparent

    def __exit__(self, kind: object, error: BaseException | None, trace: object, /) -> None:
        _here.reset(self._token)


_here: Final[contextvars.ContextVar[_Place | None]] = contextvars.ContextVar("telemetry_span", default=None)


@final
class Tracer:
    """Records spans.

    Args:
        sinks: who takes them.
        clock: nanoseconds since the epoch.
        steady: nanoseconds of a clock that never goes back.
        random: gives so many random bytes.
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
        """Record one span, from now until it is left; see `telemetry.tracing.span`."""
        traceparent = child(parent, self._random)
        start, steady = self._clock(), self._steady()

        def ended(place: _Span) -> None:
            done = Finished(
                name=f"{name.value} {of}" if of else name.value,
                kind=name.kind,
                trace_id=trace_id(traceparent),
                span_id=span_id(traceparent),
                parent_id=span_id(parent),
                link=link if is_valid(link) else "",
                start_ns=start,
                duration_ns=self._steady() - steady,
                attributes=_plain(place.attributes),
                failed=place.failed,
            )
            for sink in self._sinks:
                sink.ended(done)

        return _Span(traceparent, attributes, ended)


@final
class _Span(_Place):
    """Where we are while a tracer records."""

    __slots__ = ("_ended", "attributes", "failed")

    def __init__(self, traceparent: str, attributes: dict[str, object], ended: Callable[[_Span], None]) -> None:
        super().__init__(traceparent)
        self.attributes = attributes
        self.failed = False
        self._ended = ended

    def fail(self, error: BaseException) -> None:
        """An error was met."""
        self.failed = True
        self.attributes |= {"error_type": type(error).__name__, "error": error, "code": getattr(error, "code", None)}

    def __exit__(self, kind: object, error: BaseException | None, trace: object, /) -> None:
        super().__exit__(kind, error, trace)
        if error is not None:
            self.fail(error)
        self._ended(self)


class _Seam:
    tracer: Tracer | None = None


_seam: Final = _Seam()


def install(tracer: Tracer | None) -> Tracer | None:
    """Record spans with `tracer` from now on, or not at all. Returns what was there before."""
    before, _seam.tracer = _seam.tracer, tracer
    return before


def span(
    name: SpanName, parent: str | None = None, *, link: str = "", of: str = "", **attributes: object
) -> contextlib.AbstractContextManager[str]:
    """One piece of work. Gives its traceparent, which what is started elsewhere inside it should carry.

    Args:
        name: of the catalogue.
        parent: traceparent it is below; None for the span that surrounds it; an empty one begins a new trace.
        link: traceparent of what caused it, when that lies in another trace.
        of: the second word of its name, for members that have one.
        attributes: of the catalogue; None is left out.
    """
    above = current() if parent is None else parent
    if _seam.tracer is None or _is_dropped(above):
        return under(above)
    return _seam.tracer.span(name, above, link, of, attributes)


def under(traceparent: str) -> contextlib.AbstractContextManager[str]:
    """Let what is done inside belong to a context, without a span of its own."""
    return _Place(traceparent)


def note(attributes: Mapping[str, object] = _NOTHING, /, **more: object) -> None:
    """Add attributes to the span that surrounds the call, if one is being recorded."""
    place = _here.get()
    if isinstance(place, _Span):
        place.attributes |= {**attributes, **more}


def failed(error: BaseException) -> None:
    """Mark the span that surrounds the call as failed, by an error that it does not let out."""
    place = _here.get()
    if isinstance(place, _Span):
        place.fail(error)


def current() -> str:
    """Traceparent of where we are; empty outside of everything."""
    place = _here.get()
    return place.traceparent if place is not None else ""


def onward(traceparent: str) -> str:
    """What a message of the trace `traceparent` carries: where we are, if that is in its trace, else itself."""
    here = current()
    return here if trace_id(here) == trace_id(traceparent) else traceparent


def fields() -> dict[str, str]:
    """`trace_id`, and the `span_id` of a recorded span, as every log line inside has them."""
    place = _here.get()
    found = _match(place.traceparent) if place is not None else None
    if place is None or found is None:
        return {}
    return {"trace_id": found["trace"], **({"span_id": found["span"]} if isinstance(place, _Span) else {})}


def new_traceparent(random: Callable[[int], bytes] = os.urandom) -> str:
    """Begin a trace, sampled.

    Args:
        random: gives so many random bytes.
    """
    return f"00-{_hex(random, 16)}-{_hex(random, 8)}-01"


def child(traceparent: str, random: Callable[[int], bytes] = os.urandom) -> str:
    """A new span in the same trace; a traceparent that is not valid begins a new trace, as the standard asks."""
    found = _match(traceparent)
    if found is None:
        return new_traceparent(random)
    return f"00-{found['trace']}-{_hex(random, 8)}-{int(found['flags'], 16) & 1:02x}"


def trace_id(traceparent: str) -> str:
    """The 32 hex digits that name the trace; empty when the traceparent is not valid."""
    found = _match(traceparent)
    return found["trace"] if found else ""


def span_id(traceparent: str) -> str:
    """The 16 hex digits that name the span; empty when the traceparent is not valid."""
    found = _match(traceparent)
    return found["span"] if found else ""


def is_valid(traceparent: str) -> bool:
    """Whether the standard would accept it. A version after ours may carry more fields; version 00 may not."""
    return _match(traceparent) is not None


def _match(traceparent: str) -> re.Match[str] | None:
    found = _SHAPE.match(traceparent)
    if found and found["rest"] is not None and traceparent.startswith("00"):
        return None
    return found


def _is_dropped(traceparent: str) -> bool:
    """Whether somebody before us decided not to record this trace."""
    found = _match(traceparent)
    return found is not None and not int(found["flags"], 16) & 1


def _hex(random: Callable[[int], bytes], size: int) -> str:
    value = random(size)
    # All zeros is the one value the standard forbids.
    return (value if any(value) else value[:-1] + b"\x01").hex()


def _plain(attributes: Mapping[str, object]) -> dict[str, Plain]:
    told = redact({name: value for name, value in attributes.items() if value is not None})
    assert isinstance(told, dict)  # noqa: S101 - a mapping stays a mapping
    return {name: _short(value) for name, value in told.items()}


def _short(value: object) -> Plain:
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(text)[:_LONGEST]
