"""Log lines of pulsar-client, forwarded to our logs.

The client can call a Python logger from its own threads. It does so while it holds locks of its own; a thread that
holds the GIL and waits for one of those locks then deadlocks. So the client writes to a pipe instead, which needs no
GIL, and a Python thread reads the other end.
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
    """Return the log path for the client; the same path for every client of this process, which share one logger."""
    return _log_file(os.getpid())


@functools.cache
def _log_file(_pid: int) -> str:
    """Open the pipe of one process. A forked child needs its own: the reader thread does not survive the fork."""
    read, write = os.pipe()
    threading.Thread(target=_pass_on, args=(read,), name="pulsar-log", daemon=True).start()
    return f"/dev/fd/{write}"


def parse(line: str) -> tuple[int, str]:
    """Return the level and text of a log line of the client; a line of unknown form is a warning, kept whole."""
    found = _LINE.match(line)
    return (_LEVELS.get(found["level"], logging.DEBUG), found["text"]) if found else (logging.WARNING, line.strip())


def _pass_on(read: int) -> None:
    logger = logging.getLogger("pulsar")
    with os.fdopen(read, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            level, text = parse(line)
            logger.log(level, "%s", text)
