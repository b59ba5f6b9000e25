"""A file and optional fields as a `multipart/form-data` body: streamed, of known length, flat in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Final

from services.errors import UploadFailed
from services.objects.port import Source

__all__ = ["Multipart"]

_NOT_SAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")


class Multipart:
    """A body with one file as its last part.

    Args:
        source: the file, read once.
        field: name of the form's field.
        filename: what is no letter, digit, dot, dash or underscore becomes an underscore.
        content_type: of the file; anything that is no media type becomes `application/octet-stream`.
        boundary: letters and digits that cannot stand in the file, so random.
        fields: other fields and their values, all in ASCII without line breaks or quotes.
    """

    def __init__(
        self,
        source: Source,
        *,
        field: str,
        filename: str,
        content_type: str,
        boundary: str,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._boundary = boundary
        safe = _NOT_SAFE.sub("_", filename)[-100:].lstrip(".") or "file"
        media_type = content_type.lower() if _MEDIA_TYPE.fullmatch(content_type.lower()) else "application/octet-stream"
        before = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in (fields or {}).items()
        )
        self._head = (
            f'{before}--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{safe}"\r\n'
            f"Content-Type: {media_type}\r\n\r\n"
        ).encode("ascii")
        self._tail = f"\r\n--{boundary}--\r\n".encode("ascii")

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers with type and length of the whole body."""
        return {
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            "Content-Length": str(len(self._head) + self._source.size + len(self._tail)),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces.

        Raises:
            services.errors.UploadFailed: the source is not as long as it said.
        """
        yield self._head
        left = self._source.size
        async for piece in self._source:
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise UploadFailed("the source of an upload is not as long as it said")
        yield self._tail
