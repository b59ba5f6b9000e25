"""COS events about created objects, and their delivery to a function.

Sources: Tencent SCF, "COS trigger" (document 583/9707), and a real event from a public report, which has more fields
than the page. Delivery is asynchronous and repeated after a failure, as SCF does it (document 583/59100).
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import subprocess
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeAlias
from urllib.parse import quote

from sandbox.commands import Commands
from sandbox.cos.errors import CosStandInError

__all__ = [
    "CallableSink",
    "CommandSink",
    "CosEvent",
    "Created",
    "Events",
    "Sink",
    "SinkFailed",
    "UrlSink",
    "created_event",
]

CosEvent: TypeAlias = Mapping[str, Any]
"""A COS event as JSON data."""

Sink: TypeAlias = Callable[[CosEvent], Awaitable[None]]
"""Receiver of events. It raises if it did not accept one."""

_LOG = logging.getLogger(__name__)

_SHORT_REGIONS = {
    "ap-guangzhou": "gz",
    "ap-shanghai": "sh",
    "ap-beijing": "bj",
    "ap-chengdu": "cd",
    "ap-nanjing": "nj",
    "ap-hongkong": "hk",
}


class SinkFailed(CosStandInError):
    """A sink did not accept an event."""


@dataclass(frozen=True, slots=True)
class Created:
    """Data of an event."""

    name: str
    """Put, Post, Copy or CompleteMultipartUpload."""
    bucket: str
    """Name of the bucket, with the APPID."""
    key: str
    size: int
    etag: str
    headers: Mapping[str, str]
    """Headers of the object: content-type and x-cos-meta-*."""
    when: float
    request_id: str
    client: str
    authorization: str
    """Signature of the uploader: real events contain it, and a consumer must not log it."""


def created_event(created: Created, *, region: str, appid: str) -> dict[str, Any]:
    """Return the event of one created object. It is not documented if COS encodes keys; here they are not encoded."""
    name = created.bucket.removesuffix(f"-{appid}")
    meta = {header: value for header, value in created.headers.items() if header.startswith("x-cos-meta-")}
    return {
        "Records": [
            {
                "cos": {
                    "cosSchemaVersion": "1.0",
                    "cosObject": {
                        "url": f"http://{created.bucket}.cos.{region}.myqcloud.com/{quote(created.key)}",
                        "meta": {
                            "x-cos-request-id": created.request_id,
                            "Content-Type": created.headers.get("content-type", ""),
                            "ETag": f'"{created.etag}"',
                            "x-cos-storage-class": created.headers.get("x-cos-storage-class", "STANDARD").capitalize(),
                            **meta,
                        },
                        "vid": "",
                        "key": f"/{appid}/{name}/{created.key}",
                        "size": created.size,
                    },
                    "cosBucket": {
                        "region": _SHORT_REGIONS.get(region, region),
                        "cosRegion": region,
                        "s3Region": region,
                        "name": name,
                        "appid": appid,
                    },
                    "cosNotificationId": "unkown",
                },
                "event": {
                    "eventName": f"cos:ObjectCreated:{created.name}",
                    "eventVersion": "1.0",
                    "eventTime": int(created.when),
                    "eventSource": "qcs::cos",
                    "requestParameters": {
                        "requestSourceIP": created.client,
                        "requestHeaders": {"Authorization": created.authorization},
                    },
                    "eventQueue": f"qcs:0:scf:{region}:appid/{appid}:default.producer.$DEFAULT",
                    "reservedInfo": "",
                    "reqid": int(created.request_id[:7], 16),
                },
            }
        ]
    }


class CallableSink:
    """Passes events to a coroutine function of this process.

    Args:
        function: receiver of the events.
    """

    def __init__(self, function: Sink) -> None:
        self._function = function

    async def __call__(self, event: CosEvent) -> None:
        """Deliver an event."""
        await self._function(event)


class CommandSink:
    """Runs a command for each event, with the event as JSON on its standard input. Exit status 0 means accepted.

    Args:
        argv: program and arguments.
        concurrency: greatest number of commands at the same time.
        timeout: seconds until a command is killed.
        env: its environment; this process's if None.
        commands: what runs it; None for runs of its own.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        concurrency: int = 4,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        commands: Commands | None = None,
    ) -> None:
        self._argv = list(argv)
        self._timeout = timeout
        self._env = None if env is None else dict(env)
        self._commands = commands or Commands()
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="cos-event-command")

    async def __call__(self, event: CosEvent) -> None:
        """Deliver an event.

        Raises:
            SinkFailed: the command exited with another status, exceeded its time, or could not be started.
        """
        await asyncio.get_running_loop().run_in_executor(self._threads, self._run, json.dumps(event).encode())

    def _run(self, event: bytes) -> None:
        try:
            done = self._commands.run(self._argv, event, environ=self._env, timeout=self._timeout)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SinkFailed(f"the command failed: {type(error).__name__}") from error
        if done.returncode:
            raise SinkFailed(f"the command exited with status {done.returncode}")


class UrlSink:
    """Posts each event as JSON to a URL. A status below 300 means accepted.

    Args:
        url: http or https.
        concurrency: greatest number of requests at the same time.
        timeout: seconds.
    """

    def __init__(self, url: str, *, concurrency: int = 4, timeout: float = 60) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("an event URL is http or https")
        self._url = url
        self._timeout = timeout
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="cos-event-url")

    async def __call__(self, event: CosEvent) -> None:
        """Deliver an event.

        Raises:
            SinkFailed: another status, or no answer in time.
        """
        await asyncio.get_running_loop().run_in_executor(self._threads, self._post, json.dumps(event).encode())

    def _post(self, event: bytes) -> None:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked at construction
            self._url, data=event, headers={"Content-Type": "application/json"}, method="POST"
        )
        try:
            with self._open(request, timeout=self._timeout) as answer:
                answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise SinkFailed(f"the URL did not accept it: {type(error).__name__}") from error


class Events:
    """Delivers events in the background until it is exited. An async context manager.

    Args:
        sink: receiver of the events; None drops them.
        retries: further tries after a failure.
        pause: seconds before each of them.
    """

    def __init__(self, sink: Sink | None, *, retries: int = 1, pause: float = 1.0) -> None:
        self._sink = sink
        self._retries = retries
        self._pause = pause
        self._group: asyncio.TaskGroup | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.pending = 0
        """Events neither accepted nor given up yet."""
        self.delivered = 0
        """Events that a sink accepted."""
        self.failed = 0
        """Events given up after the retries."""

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:  # noqa: ANN401, PYI036 - passed on
        if self._group is not None:
            await self._group.__aexit__(*failure)

    def announce(self, event: CosEvent, answered: asyncio.Event, *, copies: int = 1) -> None:
        """Deliver an event once `answered` is set.

        Raises:
            RuntimeError: outside the context.
        """
        if self._sink is None:
            return
        if self._group is None:
            raise RuntimeError("events are delivered only within the app's lifespan")
        for _ in range(copies):
            self.pending += 1
            self._idle.clear()
            self._group.create_task(self._deliver(self._sink, event, answered)).add_done_callback(self._done)

    def _done(self, _: asyncio.Task[None]) -> None:
        self.pending -= 1
        if not self.pending:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until every event was accepted or given up."""
        await self._idle.wait()

    async def _deliver(self, sink: Sink, event: CosEvent, answered: asyncio.Event) -> None:
        await answered.wait()
        for attempt in range(1 + self._retries):
            if attempt:
                await asyncio.sleep(self._pause)
            try:
                await sink(event)
            except Exception as error:  # noqa: BLE001 - a failing sink must not stop the store; it is counted and logged
                _LOG.warning("an event was not accepted: %s: %s", type(error).__name__, error)
            else:
                self.delivered += 1
                return
        self.failed += 1
        _LOG.error("an event was given up after %d tries", 1 + self._retries)
