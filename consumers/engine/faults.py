"""An error as a dead letter carries it: class, code, a redacted line of its text, and where it was raised."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FrameType
from typing import Final

import msgspec

from messages.codes import Code
from messages.errors import ScfWorkersError
from telemetry.redaction import redact_text

__all__ = ["DETAIL_LENGTH", "Fault", "fault_of"]

DETAIL_LENGTH: Final = 200
"""Characters of an error's text that travel."""

_PLACE_LENGTH: Final = 120
_OURS: Final = frozenset(
    {
        "consumers",
        "messages",
        "producer",
        "recipes",
        "runtime",
        "services",
        "tasks",
        "telemetry",
        "transport",
    }
)
"""Packages whose frames may be the place."""
_HERE: Final = frozenset({__name__, "consumers.engine.outcomes", "consumers.engine.retry"})
"""Modules that only pass an error on."""


class Fault(msgspec.Struct, frozen=True):
    """Class, code, text and place of an error."""

    error: str
    """Its class."""
    code: Code
    """Its code in the catalogue."""
    detail: str = ""
    """Its text: one line, redacted, at most `DETAIL_LENGTH` characters."""
    place: str = ""
    """Module and function of the innermost frame of our own code; without line numbers, which change with each build.
    """


def fault_of(error: Exception) -> Fault:
    """Return a dead letter's description of an error; one that was not raised has its caller's place."""
    code = error.code if isinstance(error, ScfWorkersError) else Code.INTERNAL
    return Fault(type(error).__name__, code, _line(str(error)), _place(error))


def _line(text: str) -> str:
    words = "".join(letter if letter.isprintable() else " " for letter in redact_text(text)).split()
    return " ".join(words)[:DETAIL_LENGTH]


def _place(error: BaseException) -> str:
    if isinstance(error.__cause__, TimeoutError) and error.__traceback__ is None:
        # A time limit is raised where it was set; its cause was thrown into the work that waited.
        error = error.__cause__.__cause__ or error.__cause__
    frames = list(_raised(error)) if error.__traceback__ else list(_callers())
    ours = [frame for frame in frames if _module(frame).partition(".")[0] in _OURS and _module(frame) not in _HERE]
    if not ours:
        return ""
    # The innermost: of a traceback the last, of a stack the first.
    found = ours[-1] if error.__traceback__ else ours[0]
    return f"{_module(found)}.{found.f_code.co_name}"[:_PLACE_LENGTH]


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _raised(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _callers() -> Iterator[FrameType]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
