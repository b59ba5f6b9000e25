"""Bodies to be sent: an object being read, and a file of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, final

from services.objects.port import Download

__all__ = ["DownloadSource", "FileSource"]

_PIECE: Final = 1 << 20


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


@final
class FileSource:
    """A file as a `Source`; it must not grow while it is read.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size
        """Bytes in all."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces, at most 1 MiB each."""
        file = await asyncio.to_thread(self._path.open, "rb")
        try:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece
        finally:
            file.close()
