"""The end of a served stand-in: every connection is closed."""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop
from contextlib import suppress
from threading import Event
from typing import Any

from sandbox.server import Server


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_a_connection_that_is_being_accepted_at_the_end_is_closed() -> None:
    with Server(app) as server, socket.create_connection(("127.0.0.1", server.port)) as first:
        first.settimeout(60)
        first.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert first.recv(1000).startswith(b"HTTP/1.1 204")  # it serves: its loop is there
        prompt = server._server
        loop: AbstractEventLoop = prompt._loop  # type: ignore[assignment]
        late = socket.socket()
        late.settimeout(60)
        connected = Event()

        def connect_and_end() -> None:
            late.connect(("127.0.0.1", server.port))
            # The loop's next turn accepts the connection and hears of the end; in the turn after it the server
            # ends before the connection's task begins.
            prompt.end()
            connected.set()

        loop.call_soon_threadsafe(connect_and_end)
        with late:
            assert connected.wait(60)
            # A busy kernel may hand it over too late to be accepted: it is reset then.
            with suppress(ConnectionResetError):
                assert late.recv(1) == b""
