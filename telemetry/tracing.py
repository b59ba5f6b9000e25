"""Trace context as W3C Trace Context (section 3.2, `traceparent`) writes it, and the seam where spans will go.

A task's trace begins in the producer and travels in each message's header, so every stage is a child of the one before.
Until a sink is installed a span costs nothing and leaves no trace.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from typing import Final, Protocol

__all__ = ["Sink", "child", "install", "is_valid", "new_traceparent", "span", "trace_id"]

_SHAPE: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?\Z"
)


class Sink(Protocol):
    """Takes spans: a tracing library behind a small adapter."""

    def span(self, name: str, traceparent: str, attributes: Mapping[str, object]) -> AbstractContextManager[str]:
        """A span below `traceparent`; the value of the `with` is its own traceparent."""
        ...


class _Seam:
    sink: Sink | None = None


_seam: Final = _Seam()


def install(sink: Sink | None) -> Sink | None:
    """Send spans to `sink` from now on, or nowhere. Returns what was there before."""
    before, _seam.sink = _seam.sink, sink
    return before


@contextlib.contextmanager
def span(name: str, traceparent: str, **attributes: object) -> Generator[str]:
    """One piece of work below `traceparent`; gives the traceparent that what is started inside should carry."""
    if _seam.sink is None:
        yield traceparent
        return
    with _seam.sink.span(name, traceparent, attributes) as inner:
        yield inner


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


def is_valid(traceparent: str) -> bool:
    """Whether the standard would accept it. A version after ours may carry more fields; version 00 may not."""
    return _match(traceparent) is not None


def _match(traceparent: str) -> re.Match[str] | None:
    found = _SHAPE.match(traceparent)
    if found and found["rest"] is not None and traceparent.startswith("00"):
        return None
    return found


def _hex(random: Callable[[int], bytes], size: int) -> str:
    value = random(size)
    # All zeros is the one value the standard forbids.
    return (value if any(value) else value[:-1] + b"\x01").hex()
