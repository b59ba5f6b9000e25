"""The image's server against callers that are slow, silent or wrong."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import pytest

from runtime.image import RequestCredentials, Server

REQUEST_S: Final = 0.5
EVENT: Final = b'{"a": 1}'


def request(body: bytes = EVENT, length: str = "", line: str = "POST /event-invoke HTTP/1.1") -> bytes:
    return f"{line}\r\nContent-Length: {length or len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def server() -> Iterator[Server]:
    stop = threading.Event()
    one = Server(lambda event, _: {"got": event}, RequestCredentials({}), 0, request_s=REQUEST_S)

    def answer() -> None:
        while not stop.is_set():
            one.serve_next(0.05)

    threads = [threading.Thread(target=one.serve_forever, args=(0.05,)), threading.Thread(target=answer)]
    for thread in threads:
        thread.start()
    yield one
    one.shutdown()
    stop.set()
    for thread in threads:
        thread.join()
    one.server_close()


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=20)


def read(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    raw = b""
    while piece := connection.recv(65536):
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    return int(line.split()[1]), dict(header.lower().split(": ", 1) for header in headers), json.loads(body)


def answer(server: Server, sent: bytes) -> tuple[int, dict[str, str], Any]:
    with closing(connected(server)) as connection:
        connection.sendall(sent)
        return read(connection)


def test_silent_connections_delay_nobody(server: Server) -> None:
    server.request_s = 600
    silent = [connected(server) for _ in range(10)]
    try:
        assert answer(server, request())[2] == {"got": {"a": 1}}
    finally:
        for one in silent:
            one.close()


def test_a_request_has_one_deadline_however_its_pieces_come(server: Server) -> None:
    with closing(connected(server)) as slow:
        slow.sendall(request(b"", "1000"))
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(REQUEST_S / 10):
                try:
                    slow.sendall(b" ")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        status, _, said = read(slow)
        stop.set()
        dripping.join()
    assert (status, said["errorCode"]) == (408, "RequestTimeout")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request(b"[]"), (400, "BadEvent")),
        (request(b'"text"'), (400, "BadEvent")),
        (request(b"null"), (400, "BadEvent")),
        (request(b"{"), (400, "BadEvent")),
        (request(line="GET /event-invoke HTTP/1.1"), (501, "NotImplemented")),
        (request(line="POST /elsewhere HTTP/1.1"), (404, "NotFound")),
        (request(line="POST /event-invoke HTTP/9.9"), (505, "HttpVersionNotSupported")),
        (request(length=str(7 << 20)), (413, None)),
        (request(length="-1"), (411, "LengthRequired")),
        (b"POST /event-invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (411, "LengthRequired")),
        (b"nonsense\r\n\r\n", (400, "BadRequest")),
        (request(line="POST /" + "x" * 70000 + " HTTP/1.1"), (414, None)),
    ],
)
def test_errors_are_json_without_a_banner(server: Server, sent: bytes, expected: tuple[int, str | None]) -> None:
    status, headers, said = answer(server, sent)
    assert status == expected[0]
    assert expected[1] in {None, said["errorCode"]}
    assert headers["content-type"] == "application/json"
    assert "server" not in headers


def test_an_event_that_is_cut_short_is_not_handed_over(server: Server) -> None:
    with closing(connected(server)) as connection:
        connection.sendall(request(EVENT, "100"))
        connection.shutdown(socket.SHUT_WR)
        status, _, said = read(connection)
    assert (status, said["errorCode"]) == (400, "BadRequest")
