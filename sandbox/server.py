"""Server for an ASGI app on a loopback port, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn

__all__ = ["Server"]

_CLOSING_POLL_S = 0.002
"""Seconds between checks that the last connection is closed."""


class Server:
    """An ASGI app on 127.0.0.1, served by a thread between `start` and `stop`.

    Args:
        app: the ASGI app.
        port: the port; 0 takes a free one, and so does a port that is in use.
    """

    def __init__(self, app: Any, port: int = 0) -> None:  # noqa: ANN401 - ASGI apps have no common type
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # asyncio does not set this on sockets that it did not create, and every small answer would wait 40 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.bind(("127.0.0.1", port))
        except OSError:
            self._socket.bind(("127.0.0.1", 0))
        self._server = _PromptServer(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="error",
                access_log=False,
                lifespan="on",
                timeout_keep_alive=75,
                http="h11",
                date_header=False,
                server_header=False,
            )
        )
        self._thread = threading.Thread(target=self._run, name="sandbox-server", daemon=True)

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start serving; the kernel queues connections until the app is ready."""
        self._socket.listen(2048)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Finish the requests in progress and close the port."""
        self._server.end()
        self._thread.join(timeout=10)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(timeout=5)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


class _PromptServer(uvicorn.Server):
    """Ends as soon as it is asked to; uvicorn checks only every tenth of a second, two or three times for one end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()
        self._lock = threading.Lock()

    def end(self) -> None:
        """Request the end, from any thread."""
        with self._lock:
            self.should_exit = True
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._asked.set)

    async def main_loop(self) -> None:
        await self.on_tick(0)
        with self._lock:
            self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._asked.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # asyncio never closes a connection whose task of accepting begins after the end of its server
        # (Server._attach asserts): accept no more, and let the tasks that are there begin.
        for listening in sockets or []:
            asyncio.get_running_loop().remove_reader(listening)
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        asked: set[Any] = set()
        while not self.force_exit:
            # Again, for connections that were just being accepted.
            for connection in self.server_state.connections - asked:
                connection.shutdown()
                asked.add(connection)
            await asyncio.sleep(_CLOSING_POLL_S)
            if not (self.server_state.connections or self.server_state.tasks):
                break
        if not self.force_exit:
            await self.lifespan.shutdown()
