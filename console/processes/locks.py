"""Lock files owned by one living process; the kernel releases the lock however that process ends (flock(2))."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

__all__ = ["InUse", "own_file"]


class InUse(Exception):
    """Another living process owns the file.

    Args:
        pid: its process id, if the file begins with one.
    """

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid


@contextmanager
def own_file(path: Path) -> Generator[TextIO]:
    """Lock a file for exclusive use: empty, open for writing, readable by the owner only; deleted at the end.

    Args:
        path: the file; its folders are created. A file left by a dead process is taken over.

    Raises:
        InUse: another process owns the file.
        OSError: the file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "that is no file")
    with _locked(path) as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(0)
        try:
            yield file
        finally:
            # Delete only our own file: another may have been put in its place.
            if _is_at(file, path):
                path.unlink()


def _locked(path: Path) -> TextIO:
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                first = file.readline().strip()
                raise InUse(first if first.isdigit() else "") from None
        # Between opening and locking, the previous owner may have ended and deleted the file.
        if _is_at(file, path):
            return file
        file.close()


def _is_at(file: TextIO, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False
