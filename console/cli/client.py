"""Client of the product: buys a task, uploads the photo with its ticket, and reads status and results."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec

from messages.bodies import Stage
from messages.errors import ScfWorkersError
from messages.keys import RunId, check_id
from messages.reasons import reason_of
from runtime.credentials import credentials_in
from runtime.settings import Settings, require
from services.errors import BackendDown
from services.http_body import IDENTITY, read_body
from services.objects.cos import CosObjects
from services.objects.port import Objects
from services.objects.source import FileSource
from tasks.ledger.ledger import Ledger
from tasks.view import View, read_view, view_of

__all__ = [
    "DELIVERED",
    "UPLOADED",
    "WITHOUT_OPEN_CALL",
    "Client",
    "OutsideFolder",
    "Sold",
    "in_words",
    "inside",
    "open_client",
    "progress_of",
    "write_pieces",
]

R = TypeVar("R")

_ANSWER_LIMIT: Final = 1 << 20
_CONTENT_TYPES: Final = {
    "jpg": "image/jpeg",
    "jfif": "image/jpeg",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
}
"""Extension -> content type, where it is not the picture format's own name."""
_PROGRESS: Final[Mapping[str, str]] = {
    Stage.CLEAN: "accepted",
    Stage.PROMPT: "writing the prompt",
    Stage.GENERATE: "cleaned",
    Stage.POLL: "waiting for the vendor",
    Stage.COLLECT: "downloading the results",
    Stage.AUDIT: "auditing the results",
    Stage.NOTIFY: "verdict written",
}
"""Stage of a run -> its progress as text."""

UPLOADED: Final = "uploaded"
"""Progress of a task that is not accepted yet."""

DELIVERED: Final = "verdict delivered"
"""Progress of a task whose verdict the backend has acknowledged."""

WITHOUT_OPEN_CALL: Final = frozenset(
    {DELIVERED, *(_PROGRESS[stage] for stage in (Stage.POLL, Stage.COLLECT, Stage.AUDIT, Stage.NOTIFY))}
)
"""Progress of a task with a vendor whose paid calls are all answered: no crash leaves one unknown."""


def progress_of(stage: str | None) -> str:
    """Return the progress of a run in a stage, as text."""
    return _PROGRESS.get(stage or "", UPLOADED)


class Sold(msgspec.Struct, frozen=True):
    """A task that the backend has sold."""

    task_id: str
    user_id: str
    kind: str
    ticket: str
    params: Mapping[str, Any]

    @property
    def run(self) -> RunId:
        """First run of the task."""
        return RunId(self.user_id, self.task_id)


class _Receipt(msgspec.Struct, frozen=True):
    task_id: str
    ticket: str


class _Status(msgspec.Struct, frozen=True):
    status: str


class Client:
    """Calls the backend as a shop would, and COS with the real SDK.

    Args:
        backend: base URL of the backend.
        data: the data bucket.
        ledger: the ledger's bucket, read only to show progress.
    """

    def __init__(self, backend: str, data: Objects, ledger: Objects) -> None:
        self._http = httpx.AsyncClient(base_url=backend, headers=IDENTITY, timeout=30, trust_env=False)
        self._data = data
        self._ledger = Ledger(ledger, clock=time.time, nonce=lambda: secrets.token_hex(16))

    async def buy(
        self, user: str, kind: str, params: Mapping[str, Any], inputs: int = 1, priority: str = "normal"
    ) -> Sold:
        """Buy a task with this number of inputs; this charges quota.

        Raises:
            services.errors.BackendDown: the backend does not answer, or rejects the purchase.
            messages.errors.InvalidKey: the backend's task id is not valid.
        """
        order = {"user_id": user, "kind": kind, "params": dict(params), "inputs": inputs, "priority": priority}
        receipt = await self._ask("POST", "/api/tasks", _Receipt, order)
        check_id(receipt.task_id, "the backend's task_id")
        return Sold(receipt.task_id, user, kind, receipt.ticket, params)

    async def upload(self, sold: Sold, photos: Sequence[Path]) -> str:
        """Upload the task's inputs: one photo with metadata, or any other number with a task file. Returns its key."""
        folder = f"input/{sold.user_id}/{sold.task_id}/"
        if len(photos) == 1:
            meta = {"kind": sold.kind, "params": json.dumps(dict(sold.params)), "ticket": sold.ticket}
            return await self._put_photo(f"{folder}original{photos[0].suffix.lower()}", photos[0], meta)
        names = [f"input_{n:02d}{photo.suffix.lower()}" for n, photo in enumerate(photos, 1)]
        for name, photo in zip(names, photos, strict=True):
            await self._put_photo(folder + name, photo, {})
        task = {"kind": sold.kind, "params": sold.params, "inputs": names, "ticket": sold.ticket}
        # Last: its event starts the task.
        await self._data.put(f"{folder}task.json", msgspec.json.encode(task), content_type="application/json")
        return f"{folder}task.json"

    async def _put_photo(self, key: str, photo: Path, meta: Mapping[str, str]) -> str:
        extension = key.rpartition(".")[2]
        kind = _CONTENT_TYPES.get(extension, f"image/{extension}")
        source = await asyncio.to_thread(FileSource, photo)
        await self._data.put(key, source, content_type=kind, meta=meta)
        return key

    async def status(self, sold: Sold) -> str:
        """Return the backend's status: such as `pending`, and after a verdict success, failed or cancelled.

        Raises:
            services.errors.BackendDown: the backend does not answer, or does not know the task.
        """
        return (await self._ask("GET", f"/api/tasks/{sold.task_id}", _Status)).status

    async def progress(self, sold: Sold) -> str:
        """Return the progress of the run as text, read from the ledger with one listing."""
        trail = (await self._ledger.trail(sold.run)).get(sold.run.run, {})
        view = view_of(sold.run, trail, {})
        if view.state == "delivered":
            return DELIVERED
        return progress_of(view.stage)

    async def view(self, sold: Sold) -> View:
        """Return the ledger's view of the run.

        Raises:
            services.errors.ObjectsDown: the store does not answer.
        """
        return await read_view(sold.run, self._ledger)

    async def download(self, sold: Sold, folder: Path) -> list[Path]:
        """Download the outputs of a task into a folder named by its id.

        Raises:
            OutsideFolder: a key would be written outside of that folder; that file is not written.
        """
        prefix = f"output/{sold.user_id}/{sold.task_id}/"
        paths: list[Path] = []
        for item in (await self._data.list(prefix)).items:
            path = inside(folder, Path(sold.task_id) / item.key.removeprefix(prefix))
            async with self._data.open(item.key) as download:
                await write_pieces(path, download)
            paths.append(path)
        return paths

    async def outputs(self, sold: Sold) -> list[str]:
        """Return the keys of the task's outputs."""
        page = await self._data.list(f"output/{sold.user_id}/{sold.task_id}/")
        return [item.key for item in page.items]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, kind: type[R], body: Mapping[str, Any] | None = None) -> R:
        called = f"the backend, {self._http.base_url} (BACKEND_URL),"
        try:
            async with self._http.stream(method, path, json=body) as answer:
                if not answer.is_success:
                    raise BackendDown(f"{called} rejects {method} {path}: it answered {answer.status_code}")
                return msgspec.json.decode(await read_body(answer, _ANSWER_LIMIT), type=kind)
        except httpx.HTTPError as error:
            remedy = "start `scf-workers sandbox` again, or name the environment file of a running one with --env-file"
            raise BackendDown(f"{called} does not answer ({in_words(error)}): {remedy}") from error
        except msgspec.MsgspecError as error:
            raise BackendDown(f"{called} answers {method} {path} with unexpected content: check that URL") from error


class OutsideFolder(ScfWorkersError):
    """A file would be written outside the intended folder."""


def in_words(error: httpx.HTTPError) -> str:
    """Return the reason of a failed call for a person."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    return reason_of(error)


def inside(folder: Path, name: Path) -> Path:
    """Return the path of a file in a folder; neither the name nor existing links may lead outside.

    Args:
        folder: the folder; it may be a link itself, because the user chose it.
        name: name of the file, from a store or a backend.

    Raises:
        OutsideFolder: the path would be outside the folder.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or path.resolve() == folder.resolve():
        raise OutsideFolder(f"{str(name)[:200]!r} would be written outside {folder}, and was not")
    return path


async def write_pieces(path: Path, pieces: AsyncIterable[bytes]) -> None:
    """Write a file piece by piece, in a folder that is made where it is missing."""
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    file = await asyncio.to_thread(path.open, "wb")
    try:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
    finally:
        await asyncio.to_thread(file.close)


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncGenerator[Client]:
    """Open a client of the configured backend and buckets.

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
