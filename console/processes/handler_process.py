"""Child process of `scf-workers invoke`: calls one handler as the platform does.

It reads `{"event", "context"}` from standard input and writes one JSON object to the file descriptor given as its
second
argument: the result or the error, and the work still running when the handler returned. Then it exits at once.
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
"""Tasks and threads that only wait between calls: those of the brokers, which leave nothing half-done."""

_CHECKS: Final = 5
_BETWEEN_CHECKS_S: Final = 0.01


def run(handler: str, answer_fd: int) -> None:
    """Call `main_handler` of the module and write the answer; never returns."""
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
    # As on the platform, running work is not waited for.
    os._exit(0)


def _detail(error: BaseException) -> str:
    """Return the message of an expected error, or the traceback of any other; redacted."""
    from runtime.settings import mask_secrets
    from telemetry.redaction import redact_text

    mask_secrets(os.environ)
    expected = isinstance(error, ScfWorkersError)
    return redact_text(str(error) if expected else "".join(traceback.format_exception(error)))


def left_running() -> list[str]:
    """List work that the platform would freeze half-done: busy threads, child processes, unfinished tasks of the loop.

    A thread that has just returned its result needs a moment to become idle, so the check is repeated.
    """
    left: list[str] = []
    for _ in range(_CHECKS):
        left = [*_threads(), *_children(), *_tasks()]
        if not left:
            break
        time.sleep(_BETWEEN_CHECKS_S)
    return left


def _threads() -> list[str]:
    frames = sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - shows what a thread does
    busy: list[str] = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread is threading.main_thread() or frame is None:
            continue
        # An idle worker of a pool waits for its queue, in its outermost function.
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
