"""The demo: stand-ins, workers and a client on one machine, from photos to results in a folder."""

from __future__ import annotations

import asyncio
import itertools
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

from console.cli.broker import variables_for_demo
from console.cli.client import Client, Sold, inside, open_client
from console.cli.injections import Injected
from console.processes.handlers import HANDLERS
from console.processes.workers import Workers
from runtime.settings import load_settings
from sandbox.contact_sheet import contact_sheet
from sandbox.environment import Sandbox
from telemetry.tracing import trace_id

__all__ = ["DemoOptions", "DemoReport", "DemoTask", "Progress", "WorkerDied", "is_right_end", "run_demo"]

_WORKERS: Final = 2
_UPLOADS_AT_ONCE: Final = 4
_POLL_EVERY_S: Final = 0.25
_USER: Final = "u-1024"


class WorkerDied(RuntimeError):
    """A worker process ended by itself; the message holds the end of its log."""


class DemoTask(msgspec.Struct, frozen=True):
    """Result of one task."""

    task_id: str
    user_id: str
    kind: str
    status: str
    outputs: tuple[str, ...]
    files: tuple[str, ...]
    error: Mapping[str, str] | None
    callbacks: tuple[Mapping[str, Any], ...]
    vendor_calls: Mapping[str, int]
    trace_id: str
    elapsed_s: float


class DemoReport(msgspec.Struct, frozen=True):
    """Results of all tasks, as `--json` prints them."""

    broker: str
    tasks: tuple[DemoTask, ...]
    quota: Mapping[str, int]


class Progress(Protocol):
    """Display of each task's progress."""

    def update(self, number: int, text: str, *, done: bool) -> None:
        """Show the progress of task `number` (from 0)."""
        ...


class DemoOptions(msgspec.Struct, frozen=True):
    """Options of a demo."""

    photos: tuple[Path, ...]
    kind: str
    params: Mapping[str, Any]
    out: Path
    limit_s: float
    broker: Literal["sqlite", "pulsar"] = "sqlite"
    injected: tuple[Injected, ...] = ()
    """Injected faults."""


def is_right_end(report: DemoReport) -> bool:
    """Return True if every task got exactly one delivered verdict and the quota account balances."""
    for task in report.tasks:
        statuses = {call["status"] for call in task.callbacks if call["http_status"] < 300}  # noqa: PLR2004 - 2xx
        if len(statuses) != 1 or task.status not in {"success", "failed"}:
            return False
    succeeded = sum(task.status == "success" for task in report.tasks)
    return report.quota["charged"] - report.quota["refunded"] == succeeded


def run_demo(options: DemoOptions, progress: Callable[[], AbstractContextManager[Progress]]) -> DemoReport:
    """Run the demo, and stop all processes at the end, also after an error.

    Raises:
        WorkerDied: a worker process ended by itself.
        sandbox.pulsar.BrokerFailed: no Pulsar is available.
        TimeoutError: tasks had no verdict at the time limit.
    """
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="scf-workers-demo-") as folder:
        data = Path(folder)
        with (
            variables_for_demo(options.broker, data) as variables,
            Sandbox(data, HANDLERS, broker=variables) as sandbox,
        ):
            for one in options.injected:
                one.arm(sandbox)
            log = data / "workers.log"
            with Workers(_WORKERS, sandbox.environ, log) as workers, progress() as shown:
                return asyncio.run(_Demo(options, sandbox, workers, log, shown).run())


def _leave(_number: int, _frame: object) -> None:
    """Exit by an exception, so that workers and stand-ins are stopped."""
    raise SystemExit(128 + signal.SIGTERM)


class _Demo:
    def __init__(self, options: DemoOptions, sandbox: Sandbox, workers: Workers, log: Path, shown: Progress) -> None:
        self._options = options
        self._sandbox = sandbox
        self._workers = workers
        self._log = log
        self._shown = shown
        self._gate = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    async def run(self) -> DemoReport:
        async with open_client(load_settings(self._sandbox.environ)) as client:
            try:
                async with asyncio.timeout(self._options.limit_s), asyncio.TaskGroup() as group:
                    runs = [
                        group.create_task(self._one(number, photo, client))
                        for number, photo in enumerate(self._options.photos)
                    ]
            except* WorkerDied as died:
                raise died.exceptions[0] from None
            account = await asyncio.to_thread(self._sandbox.quota_account)
            stats = await asyncio.to_thread(self._sandbox.vendor_stats)
            rows = {row["task_id"]: row for row in account["tasks"]}
            queries = {job["id"]: int(job["queries"]) for job in stats["jobs"]}
            tasks = [await self._report(*run.result(), rows, queries, client) for run in runs]
        self._sheets(tasks)
        return DemoReport(
            self._options.broker, tuple(tasks), {"charged": account["charged"], "refunded": account["refunded"]}
        )

    async def _one(self, number: int, photo: Path, client: Client) -> tuple[Sold, float]:
        started = time.monotonic()
        async with self._gate:
            sold = await client.buy(_USER, self._options.kind, self._options.params)
            self._shown.update(number, f"{sold.task_id}  uploading {photo.name}", done=False)
            await client.upload(sold, photo)
        while (status := await client.status(sold)) == "pending":
            self._check_workers()
            self._shown.update(number, f"{sold.task_id}  {await client.progress(sold)}", done=False)
            await asyncio.sleep(_POLL_EVERY_S)
        elapsed = time.monotonic() - started
        self._shown.update(number, f"{sold.task_id}  {status} in {elapsed:.1f} s", done=True)
        return sold, elapsed

    def _check_workers(self) -> None:
        code = self._workers.died()
        if code is not None:
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise WorkerDied(f"a worker ended with status {code}; its log ends:\n{tail}")

    async def _report(
        self, sold: Sold, elapsed: float, rows: Mapping[str, Any], queries: Mapping[str, int], client: Client
    ) -> DemoTask:
        row = rows[sold.task_id]
        view = await client.view(sold)
        jobs = [call.job for call in view.calls if call.job]
        files = await client.download(sold, self._options.out)
        failed = row["status"] != "success"
        return DemoTask(
            task_id=sold.task_id,
            user_id=sold.user_id,
            kind=sold.kind,
            status=row["status"],
            outputs=tuple(await client.outputs(sold)),
            files=tuple(str(path) for path in files),
            error={"code": row["error_code"], "message": row["error"]} if failed else None,
            callbacks=tuple(
                {name: call[name] for name in ("path", "status", "signature_ok", "http_status")}
                for call in row["callbacks"]
            ),
            vendor_calls={"create": len(jobs), "query": sum(queries.get(job, 0) for job in jobs)},
            trace_id=trace_id(view.accepted.traceparent if view.accepted else ""),
            elapsed_s=round(elapsed, 2),
        )

    def _sheets(self, tasks: Sequence[DemoTask]) -> None:
        pictures = [Path(path) for path in itertools.chain.from_iterable(task.files for task in tasks)]
        if pictures:
            columns = 4 if len(pictures) <= 12 else 12  # noqa: PLR2004 - pictures of one job
            contact_sheet(pictures, inside(self._options.out, Path("contact_sheet.jpg")), columns=columns)
