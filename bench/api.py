"""The HTTP API: 50 users create 20 tasks each, first without workers, then with one; and a thousand open streams.

Stand-ins, API, worker and client share this machine. Every task must end with one verdict, and the account balance.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from bench.figures import Figure
from console.cli.environment import read_env_file

__all__ = ["measure"]

_USERS: Final = int(os.environ.get("BENCH_USERS", "50"))
_TASKS: Final = int(os.environ.get("BENCH_TASKS", "20"))
_STREAMS: Final = 20
"""Open streams of each user, all of one task."""
_SETTLE_S: Final = 10.0
_IDLE: Final = 0.05
"""Share of a core below which the API counts as idle."""

_WATCH_S: Final = 30.0
_LIMIT_S: Final = 1800.0
_WORKS: Final = b"worker.started"
_LISTS: Final = "GET bucket"


def measure() -> Iterator[Figure]:
    """Return the figures."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        environ = stack.enter_context(_sandbox(Path(folder)))
        port = _free_port()
        api = stack.enter_context(_process(environ, "api", "--port", str(port), ready=b"api.started"))
        clients = _Clients(environ, f"http://127.0.0.1:{port}")
        idle = _rss_mb(api.pid)
        for name, working in (("stopped", False), ("running", True)):
            with ExitStack() as workers:
                if working:
                    workers.enter_context(_process(environ, "work", ready=_WORKS))
                spent = _cpu_s(api.pid)
                took, seconds = asyncio.run(clients.create_all(_TASKS))
                accepted = _until_idle(api.pid)
                spent = _cpu_s(api.pid) - spent
            yield from _creates(f"api_create_workers_{name}", took, seconds)
            yield Figure.of(f"api_create_workers_{name}_accepted", [accepted], "s from the last answer until all are")
            yield Figure.of(f"api_create_workers_{name}_cpu", [spent / len(took) * 1000], "ms of the API's CPU each")
        yield Figure.of("api_rss_after_creates", [_rss_mb(api.pid)], "MB")
        yield Figure.of("api_rss_idle", [idle], "MB")
        yield from asyncio.run(clients.watch(api.pid))
        with _process(environ, "work", ready=_WORKS):
            _check(environ)


def _creates(name: str, took: list[float], seconds: float) -> Iterator[Figure]:
    cuts = statistics.quantiles(took, n=100)
    yield Figure.of(f"{name}_p50", [cuts[49] * 1000], "ms")
    yield Figure.of(f"{name}_p99", [cuts[98] * 1000], "ms")
    yield Figure.of(f"{name}_rate", [len(took) / seconds], "1/s")


@contextmanager
def _sandbox(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run the stand-ins in a process of their own. Yields the environment that points the product at them."""
    file = folder / "env"
    options = ("--data", str(folder / "data"), "--env-file", str(file), "--duration", "0.5", "--no-api")
    with _process(os.environ, "sandbox", *options, ready=b"environment in"):
        yield {**os.environ, **read_env_file(file)}


def _account(environ: Mapping[str, str]) -> dict[str, Any]:
    answer = httpx.get(f"{environ['BACKEND_URL']}/_sandbox/quota", trust_env=False, timeout=60)
    found: dict[str, Any] = answer.json()
    return found


def _check(environ: Mapping[str, str]) -> None:
    """Wait until every task has ended; each must have one verdict, and the account must balance."""
    until = time.monotonic() + _LIMIT_S
    while any(task["status"] == "pending" for task in _account(environ)["tasks"]):
        if time.monotonic() > until:
            raise TimeoutError("some tasks have no verdict")
        time.sleep(1)
    account = _account(environ)
    verdicts = [{call["status"] for call in task["callbacks"]} for task in account["tasks"]]
    failed = sum(task["status"] == "failed" for task in account["tasks"])
    if any(len(found) != 1 for found in verdicts) or account["refunded"] != failed or account["strays"]:
        raise AssertionError(
            f"the account does not balance: {account['charged']} charged, {account['refunded']} refunded"
        )


class _Clients:
    def __init__(self, environ: Mapping[str, str], url: str) -> None:
        self._url = url
        self._cos = environ["COS_ENDPOINT"]
        self._photo = f"{environ['PHOTOS_URL']}/portrait.jpg"
        claims = {"exp": int(time.time()) + 7200}
        self._tokens = [
            jwt.encode({**claims, "sub": f"u{n}"}, environ["JWT_SECRET"], algorithm="HS256") for n in range(_USERS)
        ]
        self._last: list[str] = []

    async def create_all(self, tasks: int) -> tuple[list[float], float]:
        """Let every user create tasks, one after the other. Returns the seconds of each request, and of all."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            users = [group.create_task(self._create(token, tasks)) for token in self._tokens]
        seconds = time.perf_counter() - began
        self._last = [user.result()[1] for user in users]
        return [took for user in users for took in user.result()[0]], seconds

    async def _create(self, token: str, tasks: int) -> tuple[list[float], str]:
        took: list[float] = []
        path = ""
        async with _http(self._url, token) as http:
            for _ in range(tasks):
                began = time.perf_counter()
                document = {"kind": "basic_clean", "inputs": [self._photo]}
                answer = await http.post("/api/v1/ai-generation/create", json=document)
                took.append(time.perf_counter() - began)
                path = answer.raise_for_status().json()["eventsUrl"]
        return took, path

    async def watch(self, pid: int) -> list[Figure]:
        """Open streams of tasks that wait for a worker. Returns memory and reads of the ledger."""
        await self.create_all(1)
        opened = asyncio.Semaphore(0)
        before = _rss_mb(pid)
        streams = [
            asyncio.create_task(_stream(self._url, token, path, opened))
            for token, path in zip(self._tokens, self._last, strict=True)
            for _ in range(_STREAMS)
        ]
        for _ in streams:
            await opened.acquire()
        await asyncio.sleep(_SETTLE_S)
        first, lists = _rss_mb(pid), _lists(self._cos)
        await asyncio.sleep(_WATCH_S)
        last, more = _rss_mb(pid), _lists(self._cos) - lists
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        await asyncio.sleep(_SETTLE_S)
        quiet = _lists(self._cos)
        await asyncio.sleep(_SETTLE_S)
        return [
            Figure.of("api_streams_open", [float(len(streams))], "streams"),
            Figure.of("api_streams_rss_each", [(first - before) * 1024 / len(streams)], "KB"),
            Figure.of("api_streams_rss_growth", [last - first], f"MB in {_WATCH_S:g} s"),
            Figure.of("api_streams_lists_per_task", [more / _USERS / _WATCH_S * 60], "1/min"),
            Figure.of("api_lists_without_streams", [(_lists(self._cos) - quiet) / _SETTLE_S * 60], "1/min"),
        ]


async def _stream(url: str, token: str, path: str, opened: asyncio.Semaphore) -> None:
    async with _http(url, token) as http, http.stream("GET", path, timeout=None) as answer:
        answer.raise_for_status()
        opened.release()
        async for _ in answer.aiter_bytes():
            pass


@asynccontextmanager
async def _http(url: str, token: str) -> AsyncGenerator[httpx.AsyncClient]:
    # Without TLS: a client of its own set of certificates takes tens of milliseconds, which would be measured too.
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False, verify=False) as http:  # noqa: S501
        yield http


@contextmanager
def _process(environ: Mapping[str, str], *words: str, ready: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the product until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "console", *words],
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    for line in process.stdout or ():
        if ready in line:
            break
    # Its log must not fill the pipe.
    drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)  # noqa: S607
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)
        drain.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _lists(cos: str) -> int:
    """Return the number of listings that the store has answered."""
    stats: dict[str, Any] = httpx.get(f"{cos}/_sandbox/stats", trust_env=False).json()
    return sum(count for name, count in stats["requests"].items() if name.startswith(_LISTS))


def _cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _until_idle(pid: int) -> float:
    """Wait until a process does nothing any more. Returns the seconds until then."""
    began = time.perf_counter()
    while True:
        spent, at = _cpu_s(pid), time.perf_counter()
        time.sleep(1)
        if _cpu_s(pid) - spent < _IDLE:
            return at - began


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
