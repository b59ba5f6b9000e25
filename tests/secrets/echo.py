"""A server that answers every request badly, and repeats in its answers what it has received."""

from __future__ import annotations

import json
import socketserver
import threading
from types import TracebackType
from typing import Any, Final, Literal, Self

__all__ = ["MODES", "Echo", "Mode"]

Mode = Literal["forbidden", "error", "garbage", "cut", "redirect", "fine"]

MODES: Final[tuple[Mode, ...]] = ("forbidden", "error", "garbage", "cut", "redirect", "fine")


class Echo:
    """Serves on a loopback port between entering and leaving.

    Args:
        mode: `forbidden` and `error` answer 403 and 500 with what they were told in headers and body, as XML and JSON
            at once; `garbage` puts it where the status line should be; `cut` breaks off inside the body; `redirect`
            sends to a URL made of it; `fine` says that all is well, and repeats it there.
    """

    def __init__(self, mode: Mode) -> None:
        self.heard: list[bytes] = []
        echo = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                reported = _read(self.request)
                echo.heard.append(reported)
                self.request.sendall(_answer(mode, reported))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that disconnects is normal."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read(connection: Any) -> bytes:
    connection.settimeout(5)
    reported = b""
    while b"\r\n\r\n" not in reported:
        piece = connection.recv(65536)
        if not piece:
            return reported
        reported += piece
    head, _, body = reported.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n" + body


def _answer(mode: Mode, reported: bytes) -> bytes:
    words = reported.decode("latin-1")
    line = " ".join(words.split())[:6000]
    escaped = line.replace("&", "&amp;").replace("<", "&lt;")
    document = json.dumps({"code": 500, "errorCode": "500", "errorMessage": line, "status": line, "msg": line})
    xml = f"<Error><Code>AccessDenied</Code><Message>{escaped}</Message><Echo>{document}</Echo></Error>"
    body = (document if "application/json" in words else xml).encode()
    headers = (
        f"Content-Length: {len(body)}\r\nX-Echo: {line[:3000]}\r\nx-cos-request-id: {line[:300]}\r\nConnection: close"
    )
    match mode:
        case "forbidden":
            return f"HTTP/1.1 403 {line[:500]}\r\n{headers}\r\n\r\n".encode("latin-1") + body
        case "error":
            return f"HTTP/1.1 500 Oops\r\n{headers}\r\n\r\n".encode("latin-1") + body
        case "garbage":
            return f"{line}\r\n\r\n".encode("latin-1")
        case "cut":
            return f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode("latin-1") + body[: len(body) // 2]
        case "redirect":
            where = f"http://127.0.0.1:9/?{line[:3000].replace(' ', '+')}"
            return f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode(
                "latin-1"
            )
        case "fine":
            return f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode("latin-1") + body
