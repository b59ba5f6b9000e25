"""Files of the stand-ins that appear at once: written beside their place, and moved there."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["beside", "write_whole"]


def write_whole(path: Path, body: bytes, mode: int = 0o666) -> None:
    """Write a file, and its folder if need be, so that a reader finds all of it, the file before it, or nothing.

    Args:
        path: its place.
        body: its content.
        mode: its permissions, less those that the process's umask takes away.
    """
    with beside(path) as draft:
        draft.touch(mode=mode)
        draft.write_bytes(body)


@contextmanager
def beside(path: Path) -> Generator[Path]:
    """Yield a path of this writer alone; its file replaces the one at `path`, or is removed after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
