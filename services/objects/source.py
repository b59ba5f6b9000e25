"""An object being read, as a body to be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import final

from services.objects.port import Download

__all__ = ["DownloadSource"]


@final
class DownloadSource:
    """Adapts a `Download` to a `Source`.

    Args:
        download: open for as long as this is read.
    """

    def __init__(self, download: Download) -> None:
        self._download = download

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._download.info.size

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces."""
        return self._download.__aiter__()
