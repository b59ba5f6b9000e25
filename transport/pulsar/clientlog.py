"""What pulsar-client says, as lines of our logs.

The client offers to call a Python logger from its own threads. It does so while it holds its own locks, and a thread
that holds the interpreter's lock and waits for one of those then never ends. So it writes to a pipe, which needs no
interpreter, and a thread of ours reads the other end.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
from typing import Final

__all__ = ["log_file", "parse"]

_LINE: Final = re.compile(r"\S+ \S+ (?P<level>[A-Z]+)\s+\[[^]]*\] (?P<text>.*)")
_LEVELS: Final = {"ERROR": logging.ERROR, "FATAL": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO}


def log_file() -> str:
    """The path to give the client, once a process: its logger is one for all clients of a process."""
    return _log_file(os.getpid())


@functools.cache
def _log_file(_pid: int) -> str:
    """A pipe of one process: a forked child has its parent's, but nobody who reads it."""
    read, write = os.pipe()
    threading.Thread(target=_pass_on, args=(read,), name="pulsar-log", daemon=True).start()
    return f"/dev/fd/{write}"


def parse(line: str) -> tuple[int, str]:
    """Level and text of a line of the client's; what has another form is kept whole."""
    found = _LINE.match(line)
    return (_LEVELS.get(found["level"], logging.DEBUG), found["text"]) if found else (logging.WARNING, line.strip())


def _pass_on(read: int) -> None:
    logger = logging.getLogger("pulsar")
    with os.fdopen(read, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            level, text = parse(line)
            logger.log(level, "%s", text)
