"""A deployment on stand-ins with real worker processes on a real Pulsar, for every test of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import json
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, ParamSpec

from PIL import Image

from console.cli.client import Client, Sold, open_client
from console.processes.handlers import HANDLERS
from messages.keys import record_key
from runtime.settings import load_settings
from runtime.wiring import open_services
from sandbox.environment import Sandbox
from tasks.context import Services
from tests.support.patience import PATIENCE_S
from tests.support.pulsar_part import ROOT

__all__ = ["HANDS", "PUMP", "Deployment", "Worker", "opened", "picture", "through", "until"]

P = ParamSpec("P")

PUMP: Final = ("-m", "console", "work")
"""The ordinary worker."""
HANDS: Final = (str(Path(__file__).with_name("worker.py")),)
"""The worker of `worker.py`."""


class Worker:
    """A worker process.

    Args:
        environ: its environment.
        log: file for its output.
        argv: arguments of Python.
    """

    def __init__(self, environ: Mapping[str, str], log: Path, argv: Sequence[str]) -> None:
        self._log = log
        self._read = 0
        self._said: list[dict[str, Any]] = []
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, *argv], cwd=ROOT, env=dict(environ), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def kill(self) -> None:
        """Kill it with SIGKILL, and reap it."""
        self._process.kill()
        self._process.wait()

    def wait(self) -> int:
        """Wait until it ends by itself; return its exit status."""
        return self._process.wait()

    def end(self) -> int:
        """Stop it with SIGTERM, and kill it if it hangs; return its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9

    def ended(self) -> bool:
        """True if it has ended by itself."""
        return self._process.poll() is not None

    def said(self) -> list[dict[str, Any]]:
        """The lines of its log; one that is no JSON is a line with this `text`."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            whole = log.read()
        # Only new lines are read: the log of a minute is long, and is read twenty times a second.
        whole = whole[: whole.rfind(b"\n") + 1]
        self._read += len(whole)
        self._said += [_parsed(line) for line in whole.decode(errors="replace").splitlines()]
        return self._said.copy()


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {"event": "", "text": line}
    return found if isinstance(found, dict) else {"event": "", "text": line}


class Deployment:
    """Sells tasks and reads their results. Made by `opened`."""

    def __init__(self, sandbox: Sandbox, folder: Path, client: Client, services: Services) -> None:
        self._sandbox = sandbox
        self._folder = folder
        self._client = client
        self.out = services
        self._workers: list[Worker] = []
        self.sold: list[Sold] = []

    async def sell(self, count: int, kind: str = "basic_clean") -> list[Sold]:
        """Sell tasks, upload their photos, and wait until all are accepted."""
        sold = [await self._client.buy("u-1024", kind, {}) for _ in range(count)]
        photo = self._folder / "photo.jpg"
        await asyncio.to_thread(photo.write_bytes, picture())
        await asyncio.gather(*(self._client.upload(one, (photo,)) for one in sold))
        self.sold += sold
        await until(lambda: self.all_have(sold, "accepted"), "the uploads were not accepted")
        return sold

    async def work(self, *argv: str, name: str = "") -> Worker:
        """Start a worker."""
        log = self._folder / f"{name or f'worker-{len(self._workers)}'}.log"
        worker = await asyncio.to_thread(Worker, self._sandbox.environ, log, argv or PUMP)
        self._workers.append(worker)
        return worker

    async def keep_working(self) -> Worker:
        """Start a worker as a supervisor does: again if it could not start. It is working when this returns."""
        while True:
            worker = await self.work()
            while not worker.ended():
                if any(line["event"] == "worker.started" for line in await asyncio.to_thread(worker.said)):
                    return worker
                await asyncio.sleep(0.05)

    async def records(self, sold: Sold) -> dict[str, float]:
        """Names of a task's records, and when they were stored (whole seconds)."""
        prefix = record_key(sold.run, "")
        page = await self.out.ledger.objects.list(prefix)
        return {item.key.removeprefix(prefix): item.modified for item in page.items}

    async def all_have(self, sold: Sequence[Sold], record: str) -> bool:
        """True if all these tasks have that record."""
        return all([record in await self.records(one) for one in sold])

    async def ended(self, sold: Sold) -> dict[str, Any]:
        """The backend's row of a task."""
        (row,) = (await asyncio.to_thread(self._sandbox.quota_account, sold.task_id))["tasks"]
        return dict(row)

    async def judge(self, sold: Sold, status: str, code: str = "") -> None:
        """Check for one delivered verdict, one charge, a refund of a failure, results only of a success."""
        row, verdict = await self.ended(sold), await self.out.ledger.verdict(sold.run)
        assert verdict is not None
        assert (verdict.status, verdict.code) == (status, code)
        assert {call["status"] for call in row["callbacks"]} == {row["status"]} == {status}
        assert all(call["signature_ok"] for call in row["callbacks"])
        assert (row["charges"], row["refunds"]) == (1, 0 if status == "success" else 1)
        shown = (await self.out.objects.list(f"output/{sold.user_id}/{sold.task_id}/")).items
        assert {item.key: item.etag for item in shown} == {item.target: item.etag for item in verdict.manifest}
        assert bool(shown) is (status == "success")

    async def stats(self) -> dict[str, Any]:
        """Requests that the vendor has received."""
        return await asyncio.to_thread(self._sandbox.vendor_stats)

    async def close(self) -> None:
        """End the workers."""
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in self._workers))

    def last_words(self) -> str:
        """The end of every worker's log, for a test that fails."""
        said = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in self._folder.glob("*.log")}
        return "\n".join(f"--- {name}\n{text[-4000:]}" for name, text in sorted(said.items()))


@contextlib.asynccontextmanager
async def opened(folder: Path, broker: Mapping[str, str], *, duration_s: float = 2.0) -> AsyncGenerator[Deployment]:
    """A deployment on a broker that variables name.

    Args:
        folder: for everything it keeps.
        broker: variables of the broker.
        duration_s: seconds a vendor's job takes.
    """
    sandbox = await asyncio.to_thread(
        lambda: Sandbox(folder / "sandbox", HANDLERS, duration_s=duration_s, settings=broker).start()
    )
    try:
        settings = load_settings(sandbox.environ)
        async with (
            open_client(settings) as client,
            open_services(settings, lambda: sandbox.environ, vendors=False) as services,
        ):
            deployment = Deployment(sandbox, folder, client, services)
            try:
                yield deployment
            except BaseException as error:
                await deployment.close()
                error.add_note(await asyncio.to_thread(deployment.last_words))
                raise
            await deployment.close()
    finally:
        await asyncio.to_thread(sandbox.stop)


def through(body: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Make a test of a coroutine function, without the detector of blocking calls: stand-ins may block their loops."""

    @functools.wraps(body)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        async def whole() -> None:
            await body(*arguments, **named)

        asyncio.run(whole())

    return run


async def until(look: Callable[[], Awaitable[bool]], what: str, seconds: float = PATIENCE_S) -> float:
    """Wait until a condition holds; return the seconds that it took."""
    started = time.monotonic()
    while not await look():
        assert time.monotonic() - started < seconds, what
        await asyncio.sleep(0.05)
    return time.monotonic() - started


def picture() -> bytes:
    saved = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(saved, "JPEG")
    return saved.getvalue()
