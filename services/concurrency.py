"""A task group that raises a plain error instead of a group."""

from __future__ import annotations

import asyncio
from types import TracebackType

__all__ = ["Together"]


class Together(asyncio.TaskGroup):
    """A task group that raises its first error itself instead of a group, so that callers match on classes."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Await every task; the first error cancels the others."""
        try:
            await super().__aexit__(kind, error, tb)
        except BaseExceptionGroup as group:
            first = _first(group)
        else:
            return
        # Without the group as its cause: an error keeps the cause that it was raised with.
        raise first


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
