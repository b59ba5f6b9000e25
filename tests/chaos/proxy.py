"""A proxy in front of a stand-in that loses answers, delays them, resets connections, answers 5xx, and sends twice."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["FAULTS", "FaultProxy", "Proxies", "Upset"]

FAULTS: Final = ("lost", "late", "reset", "error", "twice")
"""`lost`: it takes effect, and the connection breaks instead of the answer. `late`: the answer waits. `reset`: the
connection breaks before it takes effect. `error`: 503 without effect. `twice`: it arrives twice."""

_HEAD: Final = 1 << 16
_CLOSE: Final = b"connection: close"
_ERROR: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Upset(NamedTuple):
    """Rates of the faults in the calls of a service."""

    rate: float
    """Share of the calls."""
    repeats: bool = True
    """Calls that change something may arrive twice; a paid call may not, because the vendor would be paid twice."""
    longest_s: float = 4.0
    """Longest delay of an answer."""


class _Request(NamedTuple):
    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode("latin-1")


class FaultProxy:
    """Forwards HTTP/1.1 to a port of this machine.

    Args:
        port: where to.
        upset: its faults.
        rng: decides.
    """

    def __init__(self, port: int, upset: Upset, rng: random.Random) -> None:
        self._port = port
        self._upset = upset
        self._rng = rng
        self._server: asyncio.Server | None = None
        self.active = False
        """True if faults are on."""
        self.faults: Counter[str] = Counter()
        self.calls = 0

    async def start(self) -> int:
        """Start; return the port that it listens on."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader, writer)) and await self._forward(request, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _forward(self, request: _Request, writer: asyncio.StreamWriter) -> bool:
        """Answer one call; False where the connection is over."""
        self.calls += 1
        fault = self._choose(request)
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault == "error":
            writer.write(_ERROR)
            return True
        if fault == "twice":
            await self._ask(request)
        answer = await self._ask(request)
        if fault == "lost" or not answer:
            writer.transport.abort()
            return False
        if fault == "late":
            await asyncio.sleep(self._rng.uniform(0.2, self._upset.longest_s))
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if line.lower() != _CLOSE]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        await writer.drain()
        return _is_framed(lines)

    def _choose(self, request: _Request) -> str:
        if not self.active or self._rng.random() >= self._upset.rate:
            return ""
        known = FAULTS if self._upset.repeats or request.method in {"GET", "HEAD"} else FAULTS[:-1]
        fault = self._rng.choice(known)
        self.faults[fault] += 1
        return fault

    async def _ask(self, request: _Request) -> bytes:
        """Send a call on a connection of its own; return the whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request.head + b"\r\nConnection: close\r\n\r\n" + request.body)
            return await reader.read(-1)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request | None:
    """The next call on a connection, without what concerns that connection; None at its end."""
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw[:-4].split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if headers.get(b"expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    hops = {b"connection", b"keep-alive", b"expect"}
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in hops]
    head = b"\r\n".join([first, *kept])
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return _Request(head, await _read_chunks(reader))
    size = int(headers.get(b"content-length", b"0"))
    return _Request(head, await reader.readexactly(size) if size else b"")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body as it travels."""
    raw = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        raw += line + await reader.readexactly(size + 2)
        if not size:
            return raw


def _is_framed(lines: list[bytes]) -> bool:
    """True if an answer's end is known before its connection is closed."""
    names = {line.partition(b":")[0].lower() for line in lines[1:]}
    return bool(names & {b"content-length", b"transfer-encoding"}) or lines[0].split(b" ")[1] in {b"204", b"304"}


class Proxies:
    """Proxies of several services, in a thread of their own.

    Args:
        ports: service -> its port.
        upsets: service -> its faults.
        seed: of their decisions.
    """

    def __init__(self, ports: Mapping[str, int], upsets: Mapping[str, Upset], seed: int) -> None:
        rng = random.Random(seed)
        self.of = {name: FaultProxy(port, upsets[name], rng) for name, port in ports.items()}
        self.ports: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)

    def start(self) -> None:
        """Start; then `ports` has the port of each."""
        self._thread.start()
        for name, proxy in self.of.items():
            self.ports[name] = asyncio.run_coroutine_threadsafe(proxy.start(), self._loop).result()

    def stop(self) -> None:
        """Stop serving, and break the open connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        for proxy in self.of.values():
            proxy.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def upset(self, *, active: bool) -> None:
        """Turn the faults on or off."""
        for proxy in self.of.values():
            proxy.active = active

    def faults(self) -> dict[str, dict[str, int]]:
        """Service -> fault -> how often."""
        return {name: dict(proxy.faults) for name, proxy in self.of.items()}
