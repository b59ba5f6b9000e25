"""The child of `scf-workers invoke`: calls one handler as the platform would, in a process of its own.

Reads `{"event", "context"}` from standard input and writes one JSON object to the file descriptor named as its second
argument: the result or the error, and what still ran when the handler returned. Then the process ends at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Final

from messages.errors import ScfWorkersError
from runtime.handlers import find_handler

__all__ = ["left_running", "run"]

_WAITING: Final = frozenset({"sqlite-broker", "pulsar-watchdog", "pulsar-log"})
"""Tasks and threads that only wait between calls: the brokers' own, which hold nothing half-done."""

_LOOKS: Final = 5
_BETWEEN_LOOKS_S: Final = 0.01


def run(handler: str, answer_fd: int) -> None:
    """Call `main_handler` of the module and report; never returns."""
    call = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        answer = {"result": find_handler(handler)(call["event"], call["context"])}
        json.dumps(answer)
    except BaseException as error:  # noqa: BLE001 - whatever the handler raises is the answer
        answer = {"error": type(error).__name__, "detail": _detail(error)}
    answer["left"] = left_running()
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(answer_fd, "w", encoding="utf-8") as out:
        json.dump(answer, out, ensure_ascii=False, default=str)
    # As the platform does: what still runs is not waited for.
    os._exit(0)


def _detail(error: BaseException) -> str:
    """What the error says, or for one that nobody raised on purpose its traceback; without what is secret in it."""
    from runtime.settings import mask_secrets
    from telemetry.redaction import redact_text

    mask_secrets(os.environ)
    meant = isinstance(error, ScfWorkersError)
    return redact_text(str(error) if meant else "".join(traceback.format_exception(error)))


def left_running() -> list[str]:
    """What would be frozen half-done: threads at work, child processes, unfinished tasks of the loop.

    A thread that has just handed over its result needs a moment to become idle, so it is looked at more than once.
    """
    left: list[str] = []
    for _ in range(_LOOKS):
        left = [*_threads(), *_children(), *_tasks()]
        if not left:
            break
        time.sleep(_BETWEEN_LOOKS_S)
    return left


def _threads() -> list[str]:
    frames = sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - shows what a thread does
    busy: list[str] = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread is threading.main_thread() or frame is None:
            continue
        # A pool's idle worker waits for its queue, at the bottom of its own loop.
        if frame.f_code.co_name not in {"_worker", "wait", "get", "select", "poll"} and thread.name not in _WAITING:
            busy.append(f"thread {thread.name} in {frame.f_code.co_name}")
    return busy


def _children() -> list[str]:
    found: list[str] = []
    for listing in Path("/proc/self/task").glob("*/children"):
        found += [f"process {pid}" for pid in listing.read_text(encoding="ascii").split()]
    return found


def _tasks() -> list[str]:
    loop = _loop()
    tasks = asyncio.all_tasks(loop) if loop is not None else set[asyncio.Task[Any]]()
    return [f"task {task.get_name()}" for task in tasks if not task.done() and task.get_name() not in _WAITING]


def _loop() -> asyncio.AbstractEventLoop | None:
    scf = sys.modules.get("runtime.scf")
    return scf.current_loop() if scf is not None else None


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
