"""Named points between the effects of a run, so that tests can stop a process exactly there.

A point is announced right after the effect it names. Until a hook is installed this costs one comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["POINTS", "install", "reached"]

POINTS: Final = (
    "ingest.accepted",
    "ingest.published",
    "ingest.indexed",
    "clean.marked",
    "clean.processed",
    "clean.cleaned",
    "clean.published",
    "clean.acked",
    "generate.marked",
    "generate.uploaded",
    "generate.intent",
    "generate.created",
    "generate.id",
    "generate.published",
    "generate.acked",
    "poll.marked",
    "poll.looked",
    "poll.published",
    "poll.acked",
    "collect.marked",
    "collect.staged",
    "collect.audited",
    "verdict.stored",
    "finish.promoted",
    "finish.called_back",
    "finish.entered",
    "finish.delivered",
    "collect.acked",
)
"""Every point of a task that goes well, in the order in which it is first reached; an ack may come somewhat later."""


class _Seam:
    hook: Callable[[str], None] | None = None


_seam: Final = _Seam()


def install(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with each point's name from now on, or nothing."""
    _seam.hook = hook


def reached(point: str) -> None:
    """The effect that the point names has happened."""
    if _seam.hook is not None:
        _seam.hook(point)
