"""The demo: stand-ins, workers and a client on one machine, from photos to results in a folder."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from console.cli.broker import variables_for_demo
from console.cli.client import WITHOUT_OPEN_CALL, Client, Sold, inside, open_client
from console.cli.cos.work import set_up_buckets
from console.cli.demo.injections import Injected
from console.cli.ending import describe_ending
from console.cli.live_view import Row, RowState
from console.cli.show import Progress
from console.processes.handlers import HANDLERS
from console.processes.workers import Workers
from messages.keys import VIDEO_EXTENSIONS
from runtime.settings import load_settings
from sandbox.contact_sheet import Block, contact_sheet
from sandbox.environment import VENDORS, Sandbox
from telemetry import logs
from telemetry.tracing import trace_id

__all__ = ["DemoOptions", "DemoReport", "DemoTask", "WorkerDied", "is_right_end", "run_demo"]

_WORKERS: Final = 2
_UPLOADS_AT_ONCE: Final = 4
_POLL_EVERY_S: Final = 0.25
_VENDOR_S: Final = 2.0
_USER: Final = "u-1024"


class WorkerDied(RuntimeError):
    """A worker process ended by itself."""


class DemoTask(msgspec.Struct, frozen=True):
    """Result of one task."""

    task_id: str
    user_id: str
    kind: str
    status: str
    inputs: int
    outputs: tuple[str, ...]
    files: tuple[str, ...]
    text: str
    """The result of a kind that sells a text; empty for another."""
    degraded: tuple[str, ...]
    """Replacements: `prompt_template`, `original_input`, `fewer_results`."""
    error: Mapping[str, str] | None
    remedy: str
    """Advice after a failure; empty after a success."""
    callbacks: tuple[Mapping[str, Any], ...]
    vendor_calls: Mapping[str, int]
    trace_id: str
    elapsed_s: float


class DemoReport(msgspec.Struct, frozen=True):
    """Results of all tasks, as `--json` prints them."""

    broker: str
    tasks: tuple[DemoTask, ...]
    quota: Mapping[str, int]
    accepted: Mapping[str, int] = {}
    """Vendor -> jobs or pictures that it accepted, by its own count."""


class DemoOptions(msgspec.Struct, frozen=True):
    """Options of a demo."""

    inputs: tuple[tuple[Path, ...], ...]
    """Inputs of each task."""
    kind: str
    params: Mapping[str, Any]
    out: Path
    limit_s: float
    vendor: str = ""
    """Vendor of a kind that several may do; empty for the first."""
    broker: Literal["sqlite", "pulsar"] = "sqlite"
    injected: tuple[Injected, ...] = ()
    """Injected faults."""

    @property
    def environ(self) -> Mapping[str, str]:
        """Settings of the product: its log is for people, the vendor of the kind, and what the injected faults need."""
        of_faults = {name: value for one in self.injected for name, value in one.injection.environ.items()}
        of_kind = {f"{self.kind.upper()}_VENDOR": self.vendor} if self.vendor else {}
        return {"LOG_FORMAT": "text", **of_kind, **of_faults}

    @property
    def log(self) -> Path:
        """File for everything that the workers, the functions and the stand-ins log."""
        return inside(self.out, Path("workers.log"))

    @property
    def vendor_s(self) -> float:
        """Duration of a vendor's job."""
        return max((one.injection.vendor_s for one in self.injected), default=0.0) or _VENDOR_S


def is_right_end(report: DemoReport) -> bool:
    """Return True if every task got exactly one delivered verdict and the quota account balances."""
    for task in report.tasks:
        statuses = {call["status"] for call in task.callbacks if call["http_status"] < 300}  # noqa: PLR2004 - 2xx
        if len(statuses) != 1 or task.status not in {"success", "failed"}:
            return False
    succeeded = sum(task.status == "success" for task in report.tasks)
    return report.quota["charged"] - report.quota["refunded"] == succeeded


def run_demo(options: DemoOptions, shown: Progress) -> DemoReport:
    """Run the demo, and stop all processes at the end, also after an error.

    Raises:
        WorkerDied: a worker process ended by itself.
        sandbox.pulsar.BrokerFailed: no Pulsar is available.
        TimeoutError: tasks had no verdict at the time limit.
    """
    signal.signal(signal.SIGTERM, _leave)
    shown.note("starting the stand-ins and the workers")
    with (
        tempfile.TemporaryDirectory(prefix="scf-workers-demo-", ignore_cleanup_errors=True) as folder,
        _logged_to(options.log),
        variables_for_demo(options.broker, Path(folder)) as variables,
    ):
        settings = {**variables, **options.environ}
        sandbox = Sandbox(
            Path(folder), HANDLERS._replace(log=options.log), duration_s=options.vendor_s, settings=settings
        )
        with sandbox:
            set_up_buckets(sandbox.environ)
            for one in options.injected:
                one.arm(sandbox)
            with Workers(_WORKERS, sandbox.environ, options.log) as workers:
                try:
                    report = asyncio.run(_Demo(options, sandbox, workers, shown).run())
                finally:
                    shown.note("stopping the workers and the stand-ins")
            # The workers have written their last spans.
            if (trace := Path(sandbox.environ["TRACE_FILE"])).exists():
                shutil.copyfile(trace, inside(options.out, Path("trace.jsonl")))
            return report


@contextmanager
def _logged_to(path: Path) -> Generator[None]:
    """Send the log of this process, in which the stand-ins run, to an empty file."""
    with path.open("w", encoding="utf-8") as file:
        undo = logs.setup(file, "WARNING", "sandbox", "text")
        try:
            yield
        finally:
            undo()


def _leave(_number: int, _frame: object) -> None:
    """Exit by an exception, so that workers and stand-ins are stopped."""
    raise SystemExit(128 + signal.SIGTERM)


class _Demo:
    def __init__(self, options: DemoOptions, sandbox: Sandbox, workers: Workers, shown: Progress) -> None:
        self._options = options
        self._sandbox = sandbox
        self._workers = workers
        self._shown = shown
        self._gate = asyncio.Semaphore(_UPLOADS_AT_ONCE)
        self._at_work = asyncio.Event()

    async def run(self) -> DemoReport:
        async with open_client(load_settings(self._sandbox.environ)) as client:
            self._shown.note("")
            try:
                async with asyncio.timeout(self._options.limit_s), asyncio.TaskGroup() as group:
                    runs = [
                        group.create_task(self._one(number, photos, client))
                        for number, photos in enumerate(self._options.inputs)
                    ]
                    if any(one.injection.kills_workers for one in self._options.injected):
                        group.create_task(self._kill_workers())
            except* WorkerDied as died:
                raise died.exceptions[0] from None
            self._shown.note("downloading the results")
            account = await asyncio.to_thread(self._sandbox.quota_account)
            stats = {name: await asyncio.to_thread(self._sandbox.vendor_stats, name) for name in VENDORS}
            rows = {row["task_id"]: row for row in account["tasks"]}
            jobs = [job for name in VENDORS for job in stats[name].get("jobs", ())]
            queries = {job["id"]: int(job["queries"]) for job in jobs}
            tasks = [await self._report(*run.result(), rows, queries, client) for run in runs]
        self._sheet(tasks)
        return DemoReport(
            self._options.broker,
            tuple(tasks),
            {"charged": account["charged"], "refunded": account["refunded"]},
            {name: len(stats[name].get("jobs", stats[name].get("pictures", ()))) for name in VENDORS},
        )

    async def _one(self, number: int, photos: Sequence[Path], client: Client) -> tuple[Sold, float]:
        started = time.monotonic()
        async with self._gate:
            sold = await client.buy(_USER, self._options.kind, self._options.params, len(photos))
            names = ", ".join(photo.name for photo in photos) or "the order"
            self._shown.update(number, Row(sold.task_id, f"uploading {names}", RowState.RUNNING))
            await client.upload(sold, photos)
        while (status := await client.status(sold)) == "pending":
            self._check_workers()
            progress = await client.progress(sold)
            # A worker that dies with a paid call open leaves it unknown, and the task is refunded.
            if progress in WITHOUT_OPEN_CALL:
                self._at_work.set()
            self._shown.update(number, Row(sold.task_id, progress, RowState.RUNNING))
            await asyncio.sleep(_POLL_EVERY_S)
        self._at_work.set()
        elapsed = time.monotonic() - started
        state = RowState.SUCCESS if status == "success" else RowState.FAILED
        self._shown.update(number, Row(sold.task_id, f"{status} in {elapsed:.1f} s", state))
        return sold, elapsed

    async def _kill_workers(self) -> None:
        await self._at_work.wait()
        await asyncio.to_thread(self._workers.replace)

    def _check_workers(self) -> None:
        code = self._workers.died()
        if code is not None:
            raise WorkerDied(f"a worker ended with status {code}")

    async def _report(
        self, sold: Sold, elapsed: float, rows: Mapping[str, Any], queries: Mapping[str, int], client: Client
    ) -> DemoTask:
        row = rows[sold.task_id]
        view = await client.view(sold)
        paid = [call for call in view.calls if call.end is None or call.end.how != "not_accepted"]
        verdict = view.verdict
        files = await client.download(sold, self._options.out)
        failed = row["status"] != "success"
        return DemoTask(
            task_id=sold.task_id,
            user_id=sold.user_id,
            kind=sold.kind,
            status=row["status"],
            inputs=len(view.accepted.inputs) if view.accepted else 0,
            outputs=tuple(await client.outputs(sold)),
            files=tuple(str(path) for path in files),
            text=verdict.text if verdict else "",
            degraded=verdict.degraded if verdict else (),
            error={"code": row["error_code"], "message": row["error"]} if failed else None,
            remedy=describe_ending(row["status"], verdict, "", 0.0)[1] if failed else "",
            callbacks=tuple(
                {name: call[name] for name in ("path", "status", "signature_ok", "http_status")}
                for call in row["callbacks"]
            ),
            vendor_calls={"create": len(paid), "query": sum(queries.get(call.job, 0) for call in paid)},
            trace_id=trace_id(view.accepted.traceparent if view.accepted else ""),
            elapsed_s=round(elapsed, 2),
        )

    def _sheet(self, tasks: Sequence[DemoTask]) -> None:
        blocks = [
            Block(_title(task), photos, _pictures(task), task.text)
            for task, photos in zip(tasks, self._options.inputs, strict=True)
        ]
        if any(block.results or block.text for block in blocks):
            columns = 4 if len(blocks) == 1 else 12
            contact_sheet(blocks, inside(self._options.out, Path("contact_sheet.jpg")), columns=columns)


def _pictures(task: DemoTask) -> list[Path]:
    """Return the results that can be shown: of a video, its still."""
    return [path for path in map(Path, task.files) if path.suffix.lstrip(".") not in VIDEO_EXTENSIONS]


def _title(task: DemoTask) -> str:
    ending = task.status if task.error is None else f"{task.status}: {task.error['message']}"
    degraded = f"  ({', '.join(task.degraded)})" if task.degraded else ""
    return f"{task.kind}  {ending}{degraded}  {task.elapsed_s:.1f} s"
