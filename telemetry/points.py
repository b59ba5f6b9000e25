"""Named points between the effects of a run, at which tests can stop a process.

A point is reached right after the effect that it names. It costs one comparison until a hook is installed.
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
    "clean.audited",
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
    "slot.ended",
    "poll.published",
    "poll.acked",
    "collect.marked",
    "collect.staged",
    "results.audited",
    "results.staged",
    "verdict.stored",
    "finish.promoted",
    "finish.called_back",
    "finish.entered",
    "finish.delivered",
    "collect.acked",
)
"""Every point of a successful task, in the order in which each is first reached; an ack may come a little later."""


class _Installed:
    hook: Callable[[str], None] | None = None


_installed: Final = _Installed()


def install(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with each point's name from now on; None stops."""
    _installed.hook = hook


def reached(point: str) -> None:
    """Announce that the effect named by the point has happened."""
    if _installed.hook is not None:
        _installed.hook(point)
