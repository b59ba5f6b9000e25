"""Delivery of TASK_END webhooks, on time as the vendor's, or with a fault (docs/reference/vendors.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from sandbox.runninghub.model import Job

__all__ = ["Post", "Record", "Webhooks", "post"]

Post = Callable[[str, bytes], Awaitable[tuple[int, str]]]
"""(URL, JSON body) -> status and text of the answer; 0 and an empty text without an answer."""

_REPEATS: Final = (10.0, 50.0, 120.0)
"""Seconds between tries while the receiver does not answer 2xx: three retries within about 3 minutes."""
_LATE: Final = 30.0
_ANSWER_SECONDS: Final = 5.0


@dataclass(kw_only=True)
class Record:
    """Data of getWebhookDetail."""

    id: str
    url: str
    event_data: str = ""
    status: str = "FAILED"
    response: str = ""
    retries: int = 0
    updated: float = 0.0


class Webhooks:
    """Deliveries in progress; a context manager that drops the remaining ones at its end.

    Args:
        event_data: returns the JSON for `eventData` of a job that has ended.
        clock: the core's clock.
        time_scale: factor for all waits.
        send: makes one POST.
    """

    def __init__(
        self, event_data: Callable[[Job], str], *, clock: Callable[[], float] = time.time, time_scale: float, send: Post
    ) -> None:
        self.send = send
        self._event_data = event_data
        self._clock = clock
        self._scale = time_scale
        self._records: dict[str, Record] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        for task in self._tasks:
            task.cancel()
        if group is not None:
            await group.__aexit__(kind, error, tb)

    def record(self, job: Job) -> Record | None:
        """Return the delivered event of a job; None before its end, and without a webhook."""
        return self._records.get(job.id)

    async def begin(self, job: Job, mode: str) -> None:
        """Start the webhook of a new job; with `early` it is delivered before this returns.

        Args:
            job: a job just accepted.
            mode: a kind of the webhook's faults, or empty.
        """
        if not job.webhook:
            return
        if mode == "early":
            job.duration = 0.0
            await self._deliver(job)
        elif self._group is not None:
            task = self._group.create_task(self._follow(job, mode))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _follow(self, job: Job, mode: str) -> None:
        if mode == "forged":
            await self._forge(job)
        while (left := job.ends - self._clock()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(job.stopped.wait(), left)
        if mode == "never":
            return
        if mode == "late":
            await asyncio.sleep(_LATE * self._scale)
        await self._deliver(job)
        if mode == "twice":
            await self._deliver(job)

    async def _deliver(self, job: Job) -> None:
        data = self._event_data(job)
        record = Record(id=f"9{job.id}", url=job.webhook, event_data=data)
        self._records[job.id] = record
        for pause in (*_REPEATS, None):
            status, record.response = await self.send(job.webhook, _event(job.id, data))
            record.updated = self._clock()
            if 200 <= status < 300:  # noqa: PLR2004 - success
                record.status = "SUCCESS"
                return
            if pause is not None:
                record.retries += 1
                await asyncio.sleep(pause * self._scale)

    async def _forge(self, job: Job) -> None:
        """Send forged webhooks: of a sender who does not know the URL, and of one who knows it but no job."""
        fake = {"fileUrl": "https://attacker.example/x.png", "fileType": "png", "taskCostTime": 1, "nodeId": "9"}
        data = msgspec.json.encode({"code": 0, "msg": "success", "data": [fake]}).decode()
        await self.send(job.webhook[:-1] + ("0" if job.webhook[-1] != "0" else "1"), _event(job.id, data))
        await self.send(job.webhook, _event("1000000000000000001", data))


async def post(url: str, body: bytes) -> tuple[int, str]:
    """Make one POST over the network; a receiver that does not answer is normal for the vendor."""
    import httpx

    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_ANSWER_SECONDS) as client:
            answer = await client.post(url, content=body, headers={"Content-Type": "application/json"})
    except (httpx.HTTPError, httpx.InvalidURL):
        return 0, ""
    return answer.status_code, answer.text[:500]


def _event(job_id: str, data: str) -> bytes:
    event: dict[str, Any] = {"event": "TASK_END", "taskId": job_id, "eventData": data}
    return msgspec.json.encode(event)
