"""What a client of the product does: buy a task, upload the photo with its ticket, wait, look at the results."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec

from messages.errors import ScfWorkersError
from messages.keys import RunId, check_id, record_key
from runtime.credentials import credentials_in
from runtime.settings import Settings, require
from services.errors import BackendDown, NotFound
from services.objects.cos import CosObjects
from services.objects.port import Objects
from tasks.ledger.names import RecordName
from tasks.ledger.records import Accepted, Cleaned, Delivered, JobId, Verdict, parse_name

__all__ = ["Client", "OutsideFolder", "Sold", "inside", "open_client"]

R = TypeVar("R")

_SAYS: Final = {
    Delivered: "verdict delivered",
    Verdict: "verdict written",
    JobId: "waiting for the vendor",
    Cleaned: "cleaned",
    Accepted: "accepted",
}
"""Record -> how far a run has come, newest first."""


class Sold(msgspec.Struct, frozen=True):
    """A task the backend has sold."""

    task_id: str
    user_id: str
    kind: str
    ticket: str
    params: Mapping[str, Any]

    @property
    def run(self) -> RunId:
        """Its first run."""
        return RunId(self.user_id, self.task_id)


class _Receipt(msgspec.Struct, frozen=True):
    task_id: str
    ticket: str


class _Status(msgspec.Struct, frozen=True):
    status: str


class Client:
    """Talks to the backend as the shop does, and to COS with the real SDK.

    Args:
        backend: base URL of the backend.
        data: the data bucket.
        ledger: the ledger's bucket, read only to show how far a task is.
    """

    def __init__(self, backend: str, data: Objects, ledger: Objects) -> None:
        self._http = httpx.AsyncClient(base_url=backend, timeout=30, trust_env=False)
        self._data = data
        self._ledger = ledger

    async def buy(self, user: str, kind: str, params: Mapping[str, Any]) -> Sold:
        """Buy a task; this charges quota.

        Raises:
            services.errors.BackendDown: the backend does not answer, or does not sell it.
            messages.errors.InvalidKey: the task's id is none.
        """
        order = {"user_id": user, "kind": kind, "params": dict(params)}
        receipt = await self._ask("POST", "/api/tasks", _Receipt, order)
        check_id(receipt.task_id, "the backend's task_id")
        return Sold(receipt.task_id, user, kind, receipt.ticket, params)

    async def upload(self, sold: Sold, photo: Path) -> str:
        """Upload the photo as the task's input. Returns its key."""
        extension = photo.suffix.lstrip(".").lower()
        key = f"input/{sold.user_id}/{sold.task_id}/original.{extension}"
        meta = {"kind": sold.kind, "params": json.dumps(dict(sold.params)), "ticket": sold.ticket}
        kind = "jpeg" if extension == "jpg" else extension
        await self._data.put(key, await asyncio.to_thread(photo.read_bytes), content_type=f"image/{kind}", meta=meta)
        return key

    async def status(self, sold: Sold) -> str:
        """The backend's word: `pending` or the like until a verdict, then success, failed or cancelled.

        Raises:
            services.errors.BackendDown: the backend does not answer, or does not know the task.
        """
        return (await self._ask("GET", f"/api/tasks/{sold.task_id}", _Status)).status

    async def progress(self, sold: Sold) -> str:
        """How far the ledger says the run is, in words."""
        prefix = record_key(sold.run, "")
        page = await self._ledger.list(prefix)
        names = [parse_name(item.key.removeprefix(prefix)) for item in page.items]
        kinds = {name.kind for name in names if name}
        return next((words for kind, words in _SAYS.items() if kind in kinds), "uploaded")

    async def verdict(self, sold: Sold) -> Verdict | None:
        """The run's verdict, if there is one."""
        return await self._record(sold, Verdict.at())

    async def traceparent(self, sold: Sold) -> str:
        """The run's trace context; empty when it was never accepted."""
        accepted = await self._record(sold, Accepted.at())
        return accepted.traceparent if accepted else ""

    async def jobs(self, sold: Sold) -> list[str]:
        """The vendor's ids of the run's jobs."""
        found: list[str] = []
        prefix = record_key(sold.run, "")
        for item in (await self._ledger.list(prefix + JobId.prefix())).items:
            name = parse_name(item.key.removeprefix(prefix))
            if name and name.kind is JobId:
                job = await self._record(sold, JobId.at(name.slot, name.n))
                found += [job.job] if job else []
        return found

    async def download(self, sold: Sold, folder: Path) -> list[Path]:
        """Copy the outputs of a task to a folder of its own.

        Raises:
            OutsideFolder: a key of the store would be written elsewhere; nothing is written of that one.
        """
        prefix = f"output/{sold.user_id}/{sold.task_id}/"
        paths: list[Path] = []
        for item in (await self._data.list(prefix)).items:
            path = inside(folder, Path(sold.task_id) / item.key.removeprefix(prefix))
            content = await self._data.get(item.key, limit=1 << 30)
            await asyncio.to_thread(_write, path, content.body)
            paths.append(path)
        return paths

    async def outputs(self, sold: Sold) -> list[str]:
        """Keys of the task's outputs."""
        page = await self._data.list(f"output/{sold.user_id}/{sold.task_id}/")
        return [item.key for item in page.items]

    async def close(self) -> None:
        """Drop connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, kind: type[R], body: Mapping[str, Any] | None = None) -> R:
        called = f"the backend, {self._http.base_url} (BACKEND_URL),"
        try:
            answer = await self._http.request(method, path, json=body)
            if not answer.is_success:
                raise BackendDown(f"{called} does not take {method} {path}: it answered {answer.status_code}")
            return msgspec.json.decode(answer.content, type=kind)
        except httpx.HTTPError as error:
            remedy = "start `scf-workers sandbox` again, or name with --env-file the file of one that runs"
            raise BackendDown(f"{called} does not answer ({type(error).__name__}): {remedy}") from error
        except msgspec.MsgspecError as error:
            raise BackendDown(f"{called} answers {method} {path} with something else: is that URL right?") from error

    async def _record(self, sold: Sold, name: RecordName[R]) -> R | None:
        try:
            content = await self._ledger.get(record_key(sold.run, name.text))
        except NotFound:
            return None
        return msgspec.convert(msgspec.json.decode(content.body)["record"], name.kind)


class OutsideFolder(ScfWorkersError):
    """A file that would lie outside the folder that it was to be written to."""


def inside(folder: Path, name: Path) -> Path:
    """The path of a file in a folder, whatever its name says and wherever links that are there lead.

    Args:
        folder: where it must lie; it may be a link itself, for the user named it.
        name: of the file, from a store or a backend.

    Raises:
        OutsideFolder: it would lie elsewhere.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or path.resolve() == folder.resolve():
        raise OutsideFolder(f"{str(name)[:200]!r} would be written outside {folder}, and was not")
    return path


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncGenerator[Client]:
    """A client of the configured backend and buckets.

    Raises:
        runtime.errors.BadSettings: a variable is missing.
    """
    require(settings, "backend_url", "cos_bucket", "ledger_bucket")
    buckets = [
        CosObjects(
            bucket=bucket,
            region=settings.tencentcloud_region,
            credentials=lambda: credentials_in(os.environ, settings),
            endpoint=settings.cos_endpoint,
            pool=4,
        )
        for bucket in (settings.cos_bucket, settings.ledger_bucket)
    ]
    client = Client(settings.backend_url, *buckets)
    try:
        yield client
    finally:
        await client.close()
        for bucket in buckets:
            await bucket.close()
