"""Billed function time of many tasks whose vendor takes a minute: delayed polls against waiting functions.

Everything is the product's own: uploads reach `producer.cos_trigger`, a timer calls `consumers.runners.drain`, both in
the platform's stand-in, which counts GB-seconds. The waiting variant is the same engine in a function that is called
once for each task and returns when the task's verdict is delivered.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.figures import Figure
from console.cli.client import Sold, open_client
from console.processes.handlers import HANDLERS
from runtime.settings import load_settings
from sandbox.environment import Sandbox
from sandbox.scf import Function, Timer
from sandbox.server import Server

__all__ = ["measure"]

_VENDOR_S: Final = float(os.environ.get("BENCH_VENDOR_S", "60"))
_TASKS: Final = int(os.environ.get("BENCH_WAVE", "1000"))
_WAITING_TASKS: Final = 8
_MEMORY_MB: Final = 512
_TIME_LIMIT_S: Final = 300.0
_EVERY_S: Final = 15.0
_INSTANCES: Final = 2
_UPLOADS_AT_ONCE: Final = 8
_USERS: Final = 50
_LIMIT_S: Final = 3600.0


class _Events:
    """Receives COS events by HTTP and passes them to the loop."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.server = Server(Starlette(routes=[Route("/", self._take, methods=["POST"])]))

    async def _take(self, request: Request) -> Response:
        event = await request.json()
        self._loop.call_soon_threadsafe(self.queue.put_nowait, event)
        return Response()


class _Deployment:
    """The stand-ins, the trigger's function, and a client."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        events = _Events()
        self._stack.enter_context(events.server)
        self.sandbox = self._stack.enter_context(
            Sandbox(
                self._folder,
                HANDLERS,
                event_url=f"{events.server.url}/",
                duration_s=_VENDOR_S,
                concurrent=10_000,
                webhook=False,
            )
        )
        self.environ = {
            **{name: value for name, value in self.sandbox.environ.items() if name != "TRACE_FILE"},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "WORK_CONCURRENCY": "16",
            "LOG_LEVEL": "WARNING",
        }
        self.client = await self._stack.enter_async_context(open_client(load_settings(self.environ)))
        self.trigger = await self._stack.enter_async_context(self.function("producer.cos_trigger", 2))
        self._stack.callback(asyncio.create_task(self._pass_on(events)).cancel)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._stack.aclose()

    def function(self, handler: str, concurrency: int, **environ: str) -> Function:
        """Return a function of the image."""
        command = (sys.executable, "-m", "runtime.image", handler)
        return Function(
            command,
            {**self.environ, **environ},
            memory_mb=_MEMORY_MB,
            time_limit_s=_TIME_LIMIT_S,
            concurrency=concurrency,
            log=self._folder / "functions.log",
        )

    async def sell(self, count: int) -> list[Sold]:
        """Sell and upload a number of tasks."""
        photo = self._folder / "photo.jpg"
        await asyncio.to_thread(photo.write_bytes, _photo())
        gate = asyncio.Semaphore(_UPLOADS_AT_ONCE)

        async def one(number: int) -> Sold:
            async with gate:
                sold = await self.client.buy(f"u-{number % _USERS}", "model_pose12", {})
                await self.client.upload(sold, photo)
                return sold

        return list(await asyncio.gather(*(one(number) for number in range(count))))

    async def ended(self, count: int) -> Mapping[str, int]:
        """Wait until a number of tasks have their verdicts. Returns the counts by status."""
        deadline = time.monotonic() + _LIMIT_S
        while True:
            account = await asyncio.to_thread(self.sandbox.quota_account)
            ends = [row["status"] for row in account["tasks"] if row["status"] in {"success", "failed"}]
            if len(ends) >= count:
                return {status: ends.count(status) for status in set(ends)}
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(ends)} of {count} tasks ended")
            await asyncio.sleep(1)

    async def _pass_on(self, events: _Events) -> None:
        while True:
            self.trigger.send(await events.queue.get())


def _photo() -> bytes:
    saved = io.BytesIO()
    Image.linear_gradient("L").resize((256, 256)).convert("RGB").save(saved, "JPEG")
    return saved.getvalue()


async def _polling(folder: Path) -> dict[str, float]:
    async with _Deployment(folder) as deployment:
        started = time.monotonic()
        async with deployment.function("consumers.runners.drain", _INSTANCES) as drain:
            async with Timer(drain, _EVERY_S):
                await deployment.sell(_TASKS)
                ends = await deployment.ended(_TASKS)
                wall = time.monotonic() - started
            # Calls in progress are billed too.
            await drain.settle()
            await deployment.trigger.settle()
            stats, trigger = drain.stats, deployment.trigger.stats
    _check_success(ends, _TASKS)
    return {
        "wall": wall,
        "gb_s": stats.gb_seconds / _TASKS,
        "trigger_gb_s": trigger.gb_seconds / _TASKS,
        "invocations": float(stats.invocations),
    }


async def _waiting(folder: Path) -> float:
    async with _Deployment(folder) as deployment, deployment.function("bench.waiting", _WAITING_TASKS) as function:
        sold = await deployment.sell(_WAITING_TASKS)
        await asyncio.gather(*(function.send({"user": one.user_id, "task": one.task_id}) for one in sold))
        _check_success(await deployment.ended(_WAITING_TASKS), _WAITING_TASKS)
        await function.settle()
        return function.stats.gb_seconds / _WAITING_TASKS


def _check_success(ends: Mapping[str, int], count: int) -> None:
    if ends != {"success": count}:
        raise RuntimeError(f"of {count} tasks not all were a success: {dict(ends)}")


def measure() -> Iterator[Figure]:
    """Measure GB-seconds per task in both variants, and their ratio. One run, because it takes minutes."""
    with tempfile.TemporaryDirectory() as folder:
        waiting = asyncio.run(_waiting(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        polling = asyncio.run(_polling(Path(folder)))
    yield Figure.of("billed_waiting_gb_s_a_task", [waiting], "GB-s")
    yield Figure.of("billed_polling_gb_s_a_task", [polling["gb_s"]], "GB-s")
    yield Figure.of("billed_trigger_gb_s_a_task", [polling["trigger_gb_s"]], "GB-s")
    yield Figure.of("billed_wave_tasks", [_TASKS], "tasks")
    yield Figure.of("billed_wave_wall_s", [polling["wall"]], "s")
    yield Figure.of("billed_wave_invocations", [polling["invocations"]], "calls")
    yield Figure.of("billed_ratio_waiting_vs_polling", [waiting / polling["gb_s"]], "x")
