"""A function: its instances, its limits, and its synchronous and asynchronous calls."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from sandbox.scf.answers import Answer, Meter, Role, Stats, Status
from sandbox.scf.instance import Instance, NotStarted

__all__ = ["Function"]

_PATH: Final = "/event-invoke"
_MOST_BYTES: Final = 6 << 20
_MOST_BYTES_SENT: Final = 128 << 10
"""Largest event in bytes of an asynchronous call (SCF, "Quota management")."""

_RETRIES: Final = 2
_RETRIED: Final = frozenset({Status.FAILED, Status.TIME_LIMIT, Status.MEMORY_LIMIT, Status.DIED, Status.NOT_STARTED})
"""Errors of the execution, which are retried (SCF, "Error types and retry policies")."""


class Function:
    """A function of the platform; a context manager.

    An instance handles one event at a time, is stopped (SIGSTOP) between two, and is kept; the newest idle one is used
    first. A new one is started while none is idle and there are fewer than `concurrency`.

    Args:
        command: program and arguments of its server, which must listen on the port in PORT.
        environ: the server's whole environment.
        memory_mb: memory; a process whose resident memory exceeds it during a call is killed.
        time_limit_s: seconds after which a call's process is killed.
        concurrency: greatest number of instances.
        role: returns the execution role's credentials, for each call; None for a function without a role.
        name: name in its context.
        init_limit_s: seconds within which its server must listen (SCF: 30).
        retry_after_s: seconds between a failed asynchronous invocation and the next try (SCF: 60).
        log: file for the output of its instances.
    """

    def __init__(  # noqa: PLR0913 - all of these configure a function
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        memory_mb: int = 512,
        time_limit_s: float = 60.0,
        concurrency: int = 1,
        role: Callable[[], Role] | None = None,
        name: str = "function",
        init_limit_s: float = 30.0,
        retry_after_s: float = 60.0,
        log: Path | None = None,
    ) -> None:
        self._command = tuple(command)
        self._environ = dict(environ)
        self._memory_mb = memory_mb
        self._time_limit_s = time_limit_s
        self._concurrency = concurrency
        self._role = role
        self._name = name
        self._init_limit_s = init_limit_s
        self._retry_after_s = retry_after_s
        self._log = log
        self._meter = Meter(memory_mb)
        self._instances: set[Instance] = set()
        self._idle: list[Instance] = []
        self._places = concurrency
        self._freed = asyncio.Condition()
        self._sent: set[asyncio.Task[Answer]] = set()
        self._http = httpx.AsyncClient(timeout=None, trust_env=False)  # noqa: S113 - the function's limit ends a call

    @property
    def stats(self) -> Stats:
        """Costs of its calls so far."""
        return self._meter.stats

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of its instances."""
        return tuple(sorted(instance.pid for instance in self._instances))

    async def invoke(self, event: Any) -> Answer:  # noqa: ANN401 - any JSON value
        """Call it and wait for the answer; `Status.BUSY` if all instances are busy."""
        return await self._invoke(event, _MOST_BYTES, wait=False)

    def send(self, event: Any) -> asyncio.Task[Answer]:  # noqa: ANN401 - any JSON value
        """Call it asynchronously, as triggers do: the event waits for an instance, and a failed try is repeated twice.

        Returns:
            A task with the answer of the last try.
        """
        task = asyncio.create_task(self._try_until_done(event), name=f"{self._name} sent")
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)
        return task

    async def settle(self) -> None:
        """Wait until all asynchronous calls have ended."""
        while self._sent:
            await asyncio.wait(self._sent)

    async def close(self) -> None:
        """Drop the asynchronous calls, and end every instance."""
        for task in self._sent:
            task.cancel()
        await asyncio.gather(*self._sent, return_exceptions=True)
        await asyncio.gather(*(instance.retire() for instance in self._instances))
        self._instances.clear()
        self._idle.clear()
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _try_until_done(self, event: Any) -> Answer:  # noqa: ANN401 - any JSON value
        answer = await self._invoke(event, _MOST_BYTES_SENT, wait=True)
        for _ in range(_RETRIES):
            if answer.status not in _RETRIED:
                break
            await asyncio.sleep(self._retry_after_s)
            self._meter.retries += 1
            answer = await self._invoke(event, _MOST_BYTES_SENT, wait=True)
        return answer

    async def _invoke(self, event: Any, most_bytes: int, *, wait: bool) -> Answer:  # noqa: ANN401 - as `invoke`
        body = json.dumps(event).encode()
        answer = Answer(Status.EVENT_TOO_LARGE)
        if len(body) <= most_bytes:
            answer = await self._when_free(body, wait=wait)
        self._meter.count(answer)
        return answer

    async def _when_free(self, body: bytes, *, wait: bool) -> Answer:
        async with self._freed:
            if not wait and not self._places:
                return Answer(Status.BUSY)
            await self._freed.wait_for(lambda: self._places)
            self._places -= 1
        try:
            return await self._on_instance(body)
        finally:
            async with self._freed:
                self._places += 1
                self._freed.notify_all()

    async def _on_instance(self, body: bytes) -> Answer:
        cold = not self._idle
        try:
            instance = await self._start() if cold else self._idle.pop()
        except NotStarted as error:
            return Answer(Status.NOT_STARTED, error={"errorMessage": str(error)}, cold=True)
        request_id = str(uuid.uuid4())
        began = time.monotonic()
        try:
            answer = await self._call(instance, body, request_id)
        except BaseException:
            await self._drop(instance)
            raise
        seconds = time.monotonic() - began
        if answer.status in {Status.OK, Status.FAILED}:
            await instance.freeze()
            self._idle.append(instance)
        else:
            await self._drop(instance)
        return msgspec.structs.replace(answer, seconds=seconds, cold=cold, request_id=request_id)

    async def _start(self) -> Instance:
        began = time.monotonic()
        instance = await Instance.start(self._command, self._environ, self._log, self._init_limit_s)
        self._instances.add(instance)
        self._meter.cold_starts += 1
        self._meter.init_seconds += time.monotonic() - began
        return instance

    async def _drop(self, instance: Instance) -> None:
        await instance.kill()
        self._instances.discard(instance)

    async def _call(self, instance: Instance, body: bytes, request_id: str) -> Answer:
        instance.thaw()
        url = f"http://127.0.0.1:{instance.port}{_PATH}"
        post = asyncio.create_task(self._http.post(url, content=body, headers=self._headers(request_id)))
        grown = asyncio.create_task(instance.grows_beyond(self._memory_mb << 20))
        try:
            done, _ = await asyncio.wait({post, grown}, timeout=self._time_limit_s, return_when=asyncio.FIRST_COMPLETED)
            if post in done:
                return _read(post.result())
            return Answer(Status.MEMORY_LIMIT if grown in done else Status.TIME_LIMIT)
        except httpx.TransportError as error:
            return Answer(Status.DIED, error={"errorMessage": type(error).__name__})
        finally:
            for task in (post, grown):
                task.cancel()
                with suppress(asyncio.CancelledError, httpx.TransportError):
                    await task

    def _headers(self, request_id: str) -> dict[str, str]:
        """Return the context of a call (SCF, "Deploying functions from an image")."""
        headers = {
            "Content-Type": "application/json",
            "X-Scf-Request-Id": request_id,
            "X-Scf-Memory": str(self._memory_mb),
            "X-Scf-Timeout": str(round(self._time_limit_s * 1000)),
            "X-Scf-Version": "$LATEST",
            "X-Scf-Name": self._name,
            "X-Scf-Namespace": "default",
            "X-Scf-Region": "ap-guangzhou",
            "X-Scf-Appid": "1250000000",
            "X-Scf-Uin": "100000000000",
        }
        if self._role is None:
            return headers
        role = self._role()
        given = {
            "X-Scf-Secret-Id": role.secret_id,
            "X-Scf-Secret-Key": role.secret_key,
            "X-Scf-Session-Token": role.token,
        }
        return {**headers, **{name: value for name, value in given.items() if value}}


def _read(response: httpx.Response) -> Answer:
    """Read the answer of a function's server. It is not documented that statuses other than 2xx are failures."""
    try:
        found = response.json()
    except ValueError:
        return Answer(Status.FAILED, error={"errorMessage": "the answer is no JSON"})
    if response.is_success:
        return Answer(Status.OK, found)
    return Answer(Status.FAILED, error=found if isinstance(found, dict) else {"errorMessage": str(found)})
