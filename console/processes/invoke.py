"""Call of a handler as the platform does it: a fresh process, a context, a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Invocation", "invoke"]


class Invocation(msgspec.Struct, frozen=True):
    """Result of a call."""

    ok: bool
    result: Any = None
    error: str = ""
    """Class of the exception that the handler raised, `TimeLimit`, or `ProcessDied`."""
    detail: str = ""
    """Message of an expected error, or the traceback of any other."""
    left: tuple[str, ...] = ()
    """Work still running when the handler returned; it was killed."""


def invoke(
    handler: str,
    event: Any,  # noqa: ANN401 - any event of the platform
    *,
    environ: Mapping[str, str],
    time_limit_s: float = 60.0,
    memory_mb: int = 512,
) -> Invocation:
    """Call `main_handler(event, context)` of a module.

    Args:
        handler: the module, such as `producer.cos_trigger`.
        event: the event.
        environ: environment of the process.
        time_limit_s: seconds after which the process is killed.
        memory_mb: memory size in the context.
    """
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as answers:
        process = subprocess.Popen(
            [sys.executable, "-m", "console.processes.handler_process", handler, str(write_end)],
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            env=dict(environ),
            pass_fds=(write_end,),
            start_new_session=True,
        )
        os.close(write_end)
        call = {"event": event, "context": _context(handler, time_limit_s, memory_mb)}
        timed_out = False
        try:
            process.communicate(json.dumps(call).encode(), timeout=time_limit_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _kill_group(process)
        if timed_out:
            return Invocation(ok=False, error="TimeLimit", detail=f"killed after {time_limit_s:g} s")
        return _read(answers.read(), process.returncode)


def _context(handler: str, time_limit_s: float, memory_mb: int) -> dict[str, Any]:
    """Return the context of an event function (SCF product introduction, how it works)."""
    return {
        "request_id": str(uuid.uuid4()),
        "function_name": handler.replace(".", "_"),
        "function_version": "$LATEST",
        "namespace": "default",
        "memory_limit_in_mb": memory_mb,
        "time_limit_in_ms": int(time_limit_s * 1000),
        "tencentcloud_region": os.environ.get("TENCENTCLOUD_REGION", "ap-guangzhou"),
    }


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(answer: bytes, code: int) -> Invocation:
    if not answer:
        return Invocation(ok=False, error="ProcessDied", detail=f"its process ended with exit status {code}")
    found = json.loads(answer)
    left = tuple(found["left"])
    if "error" in found:
        return Invocation(ok=False, error=found["error"], detail=found["detail"], left=left)
    return Invocation(ok=True, result=found["result"], left=left)
