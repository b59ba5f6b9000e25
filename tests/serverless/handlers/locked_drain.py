"""The drain, whose broker file is locked for LOCKED_S seconds after the first ack."""

from __future__ import annotations

import os
import sqlite3
import threading

from consumers.runners.drain import main_handler
from telemetry import points

__all__ = ["main_handler"]

_done: list[sqlite3.Connection] = []


def _reached(name: str) -> None:
    if name == "clean.acked" and not _done:
        path = os.environ["BROKER_URL"].removeprefix("sqlite://")
        lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
        _done.append(lock)
        threading.Timer(float(os.environ["LOCKED_S"]), lock.close).start()


points.install(_reached)
