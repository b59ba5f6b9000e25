"""Rich console that escapes foreign text.

It has a module of its own, because rich is slow to import and `scf-workers work` does not need it.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from telemetry.printable import printable

__all__ = ["SafeConsole"]


class SafeConsole(Console):
    """Rich console that escapes control characters in texts; its own colours and cursor movements stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, and escape each text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
