"""Kills of processes at points: one task for each point, with its own broker and workers, on shared stand-ins."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

import msgspec
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.cli.client import Client, Sold, open_client
from console.processes.handlers import HANDLERS
from messages.keys import record_key, staging_prefix
from messages.topics import FAILURE, WORKERS
from runtime.settings import load_settings
from runtime.wiring import open_services
from sandbox.environment import Sandbox
from sandbox.server import Server
from tasks.context import Services
from tasks.topics import DEAD_LETTER_TOPICS, WORK_TOPICS
from telemetry.events import Event
from tests.crash import processes
from tests.support.patience import PATIENCE_S

AT_ONCE: Final = 7
"""Tasks at the same time."""
_LOOK_EVERY_S: Final = 0.05
_OPEN_S: Final = 3.0

WITH_WEBHOOK: Final = "generate.created, webhook"
"""The point at which a paid call's id is lost, for a vendor that has our webhook's URL."""


BAD_UPLOAD: Final = ", a bad picture"
"""Ends the name of a case whose upload is no picture: the run fails, and is refunded."""


class Case(msgspec.Struct, frozen=True):
    """Result of one task."""

    died: str = ""
    """The point at which its process was killed."""
    signal: int = 0
    points: tuple[str, ...] = ()
    """The points that were reached, if no process was killed."""
    verdict: Mapping[str, Any] = {}
    records: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    """Contents of the callbacks."""
    signed: bool = False
    state: str = ""
    charges: int = 0
    refunds: int = 0
    outputs: Mapping[str, str] = {}
    """Key -> ETag."""
    staged: int = 0
    jobs: int = 0
    """Jobs that the vendor accepted."""
    waiting: int = 0
    """Messages left in the broker."""
    log: str = ""
    trouble: str = ""
    """Why it could not be brought to its end."""


class CrashHarness:
    """Runs cases. The first process of the test run that asks for one runs them all; the others read what it found.

    Args:
        folder: shared by all processes of the test run.
        names: points, also followed by `BAD_UPLOAD`, or `WITH_WEBHOOK`, or empty for an undisturbed task.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = names
        self._thread: threading.Thread | None = None
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            return
        self._thread = threading.Thread(target=self._run_all, name="harness")
        self._thread.start()

    def case(self, name: str) -> Case:
        """Result of the task of that name, once it is known."""
        path = self._file(name)
        until = time.monotonic() + 3 * PATIENCE_S
        while not path.exists():
            assert time.monotonic() < until, f"{name} was never begun"
            time.sleep(_LOOK_EVERY_S)
        return msgspec.json.decode(path.read_bytes(), type=Case)

    def close(self) -> None:
        """Wait for what runs."""
        if self._thread is not None:
            self._thread.join()

    def _file(self, name: str) -> Path:
        return self._folder / f"{name or 'undisturbed'}.json"

    def _run_all(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        events = Events()
        with (
            Server(events.app) as server,
            Sandbox(
                self._folder / "sandbox", HANDLERS, event_url=server.url, duration_s=0.5, concurrent=100
            ) as sandbox,
        ):
            room = asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as group:
                for name in self._names:
                    group.create_task(self._one(name, sandbox, events, room))

    async def _one(self, name: str, sandbox: Sandbox, events: Events, room: asyncio.Semaphore) -> None:
        async with room:
            try:
                async with asyncio.timeout(2 * PATIENCE_S):
                    case = await Cell(name, sandbox, events, self._folder).run()
            except Exception:  # noqa: BLE001 - the test that asks for it shows it
                log = await asyncio.to_thread(self._file(name).with_suffix(".log").read_text, encoding="utf-8")
                case = Case(trouble=f"{traceback.format_exc()}\n{log[-6000:]}")
        draft = self._file(name).with_suffix(".draft")
        await asyncio.to_thread(draft.write_bytes, msgspec.json.encode(case))
        await asyncio.to_thread(draft.rename, self._file(name))


class Events:
    """Receives COS's events and keeps them until a test asks for a task's."""

    def __init__(self) -> None:
        self._arrived: dict[str, Mapping[str, Any]] = {}
        self.app = Starlette(routes=[Route("/", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        event = await request.json()
        self._arrived[event["Records"][0]["cos"]["cosObject"]["key"].split("/")[-2]] = event
        return Response(status_code=204)

    async def of(self, task: str) -> Mapping[str, Any]:
        """The event of a task's upload."""
        await until(lambda: task in self._arrived, f"the event of {task}")
        return self._arrived[task]


class Cell:
    """One task, its broker and its processes.

    Args:
        name: of the case.
        sandbox: the stand-ins.
        events: where COS's events arrive.
        folder: for its broker and its log.
    """

    def __init__(self, name: str, sandbox: Sandbox, events: Events, folder: Path) -> None:
        self._name = name
        self._point = name.partition(",")[0]
        self._sandbox = sandbox
        self._events = events
        self._log = folder / f"{name or 'undisturbed'}.log"
        webhook = name == WITH_WEBHOOK
        # The handler behind the Function URL has the sandbox's environment, hence its broker.
        own = {} if webhook else {"BROKER_URL": f"sqlite://{folder / (name or 'undisturbed')}.db", "WEBHOOK_URL": ""}
        self._environ = {**sandbox.environ, **own, "SHUTDOWN_GRACE_S": "5"}
        self._open_s = 4 * PATIENCE_S if webhook else _OPEN_S
        self._points: list[str] = []
        self._starts = 0
        self._died, self._signal = "", 0

    async def run(self) -> Case:
        """Buy, upload, kill, start again, wait for the end, look."""
        settings = load_settings(self._environ)
        async with (
            open_client(settings) as client,
            open_services(settings, lambda: self._environ, vendors=False) as services,
        ):
            sold = await client.buy("u-1024", "model_pose12", {"prompt": self._name or "undisturbed"})
            photo = self._log.with_suffix(".jpg")
            await asyncio.to_thread(photo.write_bytes, b"no picture" if self._name.endswith(BAD_UPLOAD) else picture())
            await client.upload(sold, (photo,))
            await self._ingest(await self._events.of(sold.task_id))
            await self._work(client, sold, services)
            return await self._look(sold, services)

    async def _ingest(self, event: Mapping[str, Any]) -> None:
        """The platform calls the trigger, and once more where its process has died."""
        point = self._point if self._point.startswith("ingest.") else ""
        async with self._process(processes.trigger, point, event):
            pass
        if point:
            async with self._process(processes.trigger, "", event):
                pass

    async def _work(self, client: Client, sold: Sold, services: Services) -> None:
        if self._point and not self._died:
            self._starts += 1
            async with self._process(processes.work, self._point, self._open_s):
                pass
        self._starts += 1
        async with self._process(processes.work, "", self._open_s) as process:
            # Before that, a signal would end it at once.
            await until(self._has_started, "the worker's start")
            await until(lambda: self._is_over(client, sold, services), "the task's end")
            process.terminate()

    def _has_started(self) -> bool:
        return self._log.read_text(encoding="utf-8").count(f'"{Event.WORKER_STARTED}"') == self._starts

    async def _is_over(self, client: Client, sold: Sold, services: Services) -> bool:
        if await client.status(sold) == "pending":
            return False
        # A webhook comes long before the copy that waits for the open call's end.
        if self._name != WITH_WEBHOOK and await waiting(services):
            return False
        return any(key.endswith("/delivered") for key in await keys(services.ledger.objects, record_key(sold.run, "")))

    @asynccontextmanager
    async def _process(self, target: Any, point: str, last: Any) -> AsyncGenerator[ForkServerProcess]:
        """A process from its start to its end; its output is kept."""
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = forks().Process(target=target, args=(self._environ, self._log, point, theirs, last))
        # Always from this one thread: `start` also asks after every other process, and an answer can be read once only.
        process.start()
        theirs.close()
        try:
            listening = asyncio.create_task(asyncio.to_thread(told_by, ours))
            yield process
            said = await asyncio.wait_for(listening, PATIENCE_S)
            await until(lambda: process.exitcode is not None, "the process's end")
            assert process.exitcode is not None
            if point:
                self._died, self._signal = "".join(said), -process.exitcode
            else:
                assert process.exitcode == 0, f"it ended with {process.exitcode}"
                self._points += said
        finally:
            process.kill()
            process.join()
            process.close()
            ours.close()

    async def _look(self, sold: Sold, services: Services) -> Case:
        (row,) = (await asyncio.to_thread(self._sandbox.quota_account, sold.task_id))["tasks"]
        stats = await asyncio.to_thread(self._sandbox.vendor_stats)
        verdict = await services.ledger.verdict(sold.run)
        prefix = record_key(sold.run, "")
        shown = (await services.objects.list(f"output/{sold.user_id}/{sold.task_id}/")).items
        return Case(
            died=self._died,
            signal=self._signal,
            points=tuple(dict.fromkeys(self._points)),
            verdict=msgspec.to_builtins(verdict),
            records=tuple(key.removeprefix(prefix) for key in await keys(services.ledger.objects, prefix)),
            heard=tuple(call["status"] for call in row["callbacks"]),
            signed=all(call["signature_ok"] for call in row["callbacks"]),
            state=row["status"],
            charges=row["charges"],
            refunds=row["refunds"],
            outputs={item.key: item.etag for item in shown},
            staged=len(await keys(services.objects, staging_prefix(sold.run))),
            jobs=sum(job["values"].get("6.text") == (self._name or "undisturbed") for job in stats["jobs"]),
            waiting=await waiting(services),
            log=(await asyncio.to_thread(self._log.read_text, encoding="utf-8"))[-6000:],
        )


def told_by(connection: Connection) -> list[str]:
    """Everything a process says until it ends."""
    said: list[str] = []
    while True:
        try:
            said.append(connection.recv_bytes().decode())
        except (EOFError, ConnectionResetError):
            return said


async def waiting(services: Services) -> int:
    """Messages that are stored in a broker."""
    queues = [*((topic, WORKERS) for topic in WORK_TOPICS), *((topic, FAILURE) for topic in DEAD_LETTER_TOPICS)]
    return sum([(await services.broker.backlog(*queue)).depth for queue in queues])


async def keys(objects: Any, prefix: str) -> list[str]:
    return [item.key for item in (await objects.list(prefix)).items]


async def until(condition: Any, what: str) -> None:
    """Wait for a condition, which may be a coroutine function's."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < end, f"{what} did not come"
        await asyncio.sleep(_LOOK_EVERY_S)


def picture() -> bytes:
    saved = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(saved, "JPEG")
    return saved.getvalue()


def forks() -> Any:
    """A server that forks processes which have everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([processes.__name__])
    return context
