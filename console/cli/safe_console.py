"""Rich's console, with foreign text escaped.

A module of its own, because rich is slow to import and `scf-workers work` needs none.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from telemetry.printable import printable

__all__ = ["SafeConsole"]


class SafeConsole(Console):
    """A rich console that escapes what a text would have the terminal do; its own colours and cursor moves stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, each text escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
