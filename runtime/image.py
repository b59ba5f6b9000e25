"""The server of a container image: the platform posts each event to it, and it calls the function's handler.

    python -m runtime.image consumers.runners.drain

Source: SCF, "Deploying functions from an image" (document 583/41076): a server on 0.0.0.0:9000, up within 30 s, gets
`POST /event-invoke` with the event as its body, the context in `X-Scf-*` headers, and the execution role's credentials
in `X-Scf-Secret-Id`, `X-Scf-Secret-Key` and `X-Scf-Session-Token`. The units are not written there: a request that a
user recorded has `X-Scf-Memory: 512` and `X-Scf-Timeout: 300000`, so MB and milliseconds. A limit below 1,000 can only
be one in seconds (1 to 900 are allowed), and is read so. How a failed call must be answered is not written either.

The standard library's server is enough, and a framework would only make the cold start longer. Each connection is read
in a thread of its own, with one deadline for the whole request, so that a silent one delays no other; the handler is
called in the main thread, one event at a time, because its event loop and the signals belong there.
"""

from __future__ import annotations

import io
import os
import queue
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping, MutableMapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final

import msgspec

from messages.errors import ScfWorkersError
from runtime.credentials import forbid_core_dumps
from runtime.errors import BadBody, BadSettings, NoHandler
from runtime.event_json import decode_event
from runtime.handlers import Handler, find_handler
from runtime.scf import close_instance
from runtime.settings import mask_secrets
from telemetry import logs
from telemetry.events import Event
from telemetry.redaction import redact_text, register
from telemetry.secrets import Secret

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["RequestCredentials", "Server", "context_of", "main"]

_PATH: Final = "/event-invoke"
_PORT: Final = 9000
_MAX_PORT: Final = 65535
_REQUEST_S: Final = 30.0
"""Seconds in which a whole request must arrive, however it is split."""

_ANSWER_S: Final = 30.0
"""Seconds that a caller may take to fetch its answer."""

_CONNECTIONS: Final = 64
"""Connections at once; the platform needs one."""

_LOOK_EVERY_S: Final = 0.5
"""Seconds between two checks for a signal. The kernel may give it to another thread, such as just after a thaw, and
then nothing wakes the main thread."""

_MAX_BODY_BYTES: Final = 6 << 20
"""Largest event that the platform passes on, in bytes."""

_CREDENTIALS: Final = {
    "x-scf-secret-id": "TENCENTCLOUD_SECRETID",
    "x-scf-secret-key": "TENCENTCLOUD_SECRETKEY",
    "x-scf-session-token": "TENCENTCLOUD_SESSIONTOKEN",
}
_CONTEXT: Final = {
    "x-scf-request-id": "request_id",
    "x-scf-version": "function_version",
    "x-scf-name": "function_name",
    "x-scf-namespace": "namespace",
    "x-scf-region": "tencentcloud_region",
    "x-scf-appid": "tencentcloud_appid",
    "x-scf-uin": "tencentcloud_uin",
}
_LEAST_MILLISECONDS: Final = 1000

log = logs.get(__name__)


class RequestCredentials:
    """Credentials of the current call, in the place that `runtime.credentials` reads; the previous ones are removed.

    Args:
        environ: the process's environment.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._environ = environ
        self._own = {name: environ[name] for name in _CREDENTIALS.values() if name in environ}

    def take(self, headers: Mapping[str, str]) -> None:
        """Use a call's credentials from now on; a call without any leaves those that the process was started with.

        Args:
            headers: of the call, with names in lower case.

        Raises:
            runtime.errors.BadSettings: only a part of them came, or one is too short to be one; the text names it.
        """
        given = {name: headers.get(header) or "" for header, name in _CREDENTIALS.items()}
        for name in _CREDENTIALS.values():
            self._environ.pop(name, None)
        if not any(given.values()):
            self._environ.update(self._own)
            return
        for header, name in _CREDENTIALS.items():
            try:
                register(Secret(given[name]), of=name)
            except ValueError as error:
                raise BadSettings(f"the header {header} cannot be used: {error}") from error
        for header, name in list(_CREDENTIALS.items())[:2]:
            if not given[name]:
                raise BadSettings(f"the header {header} is missing, though others of the role's credentials came")
        self._environ.update({name: value for name, value in given.items() if value})


def context_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the `context` of a handler, as managed runtimes pass it.

    Args:
        headers: of the call, with names in lower case.
    """
    context: dict[str, Any] = {name: headers.get(header) or "" for header, name in _CONTEXT.items()}
    limit = _number(headers.get("x-scf-timeout"))
    if limit:
        context["time_limit_in_ms"] = limit if limit >= _LEAST_MILLISECONDS else limit * 1000
    if memory := _number(headers.get("x-scf-memory")):
        context["memory_limit_in_mb"] = memory
    return context


def _number(text: str | None) -> int:
    try:
        return max(0, int(float(text or 0)))
    except (ValueError, OverflowError):
        return 0


class _Call:
    """An event on its way to the main thread and back."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.body = body
        self.headers = headers
        self.answer: tuple[int, bytes] = (
            HTTPStatus.SERVICE_UNAVAILABLE,
            _error_body("Leaving", "this instance is ending"),
        )
        self.answered = threading.Event()
        self.written = threading.Event()


class Server(ThreadingMixIn, TCPServer):
    """Server of one handler.

    Not an `HTTPServer`, which resolves this machine's name at its start and may block on it.

    Args:
        handler: the function's `main_handler`.
        credentials: take those of each call.
        port: 0 takes a free one.
        request_s: seconds in which a whole request must arrive.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = _CONNECTIONS

    def __init__(
        self, handler: Handler, credentials: RequestCredentials, port: int = _PORT, *, request_s: float = _REQUEST_S
    ) -> None:
        self.handler = handler
        self.credentials = credentials
        self.request_s = request_s
        self._leaving = False
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(("0.0.0.0", port), _Request)  # noqa: S104 - the platform calls from outside the container

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; finish the event that is at work."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)
        threading.Thread(target=self.serve_forever, name="accept", daemon=True).start()
        last: _Call | None = None
        while not self._leaving:
            last = self.serve_next(_LOOK_EVERY_S) or last
        self.shutdown()
        self.server_close()
        while not self._calls.empty():
            last = self._calls.get()
            last.answered.set()
        if last is not None:
            last.written.wait(_ANSWER_S)

    def serve_next(self, wait_s: float) -> _Call | None:
        """Answer the next event, in the calling thread; None if none came in time."""
        try:
            call = self._calls.get(timeout=wait_s)
        except queue.Empty:
            return None
        call.answer = self.call(call.body, call.headers)
        call.answered.set()
        return call

    def hand_over(self, body: bytes, headers: Mapping[str, str]) -> _Call:
        """Let the main thread answer an event, and wait for it."""
        call = _Call(body, headers)
        self._calls.put(call)
        call.answered.wait()
        return call

    def call(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return the answer to an event: status and JSON."""
        try:
            return self._call(body, headers)
        except Exception as error:  # noqa: BLE001 - the platform gets the error, and the instance lives on
            if not isinstance(error, ScfWorkersError):
                log.error(Event.CALL_FAILED, error=error)
            return HTTPStatus.INTERNAL_SERVER_ERROR, _error_body(type(error).__name__, str(error))

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base's signature
        """Read a connection in a thread of its own; close it if there are too many."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base's signature
        """Read one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - the base's signature
        """Ignore a caller that has disconnected."""
        log.warning(Event.CALL_FAILED, error=sys.exception())

    def _call(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.credentials.take(headers)
        try:
            event = decode_event(body)
        except BadBody as error:
            return HTTPStatus.BAD_REQUEST, _error_body("BadEvent", str(error))
        return HTTPStatus.OK, msgspec.json.encode(self.handler(event, context_of(headers)))

    def _leave(self, _number: int, _frame: object) -> None:
        self._leaving = True


class _Until(io.RawIOBase):
    """A connection to read from until a moment, however many pieces come before it."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        super().__init__()
        self._connection = connection
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Request(BaseHTTPRequestHandler):
    """Handler of a request. The connection ends with the answer (HTTP/1.0)."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] - it is made for this one

    def setup(self) -> None:
        """Give the whole request one deadline."""
        super().setup()
        self.rfile = io.BufferedReader(_Until(self.connection, time.monotonic() + self.server.request_s))

    def do_POST(self) -> None:
        """Take an event, if the path is the platform's."""
        if self.path.partition("?")[0] != _PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"events are posted to {_PATH}")
            return
        text = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,18}", text):
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "an event comes with its Content-Length")
            return
        if int(text) > _MAX_BODY_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an event has {_MAX_BODY_BYTES} bytes at most")
            return
        try:
            body = self.rfile.read(int(text))
        except TimeoutError:
            self.send_error(HTTPStatus.REQUEST_TIMEOUT, f"an event must be here within {self.server.request_s:g} s")
            return
        if len(body) < int(text):
            self.send_error(HTTPStatus.BAD_REQUEST, "the event ends before its Content-Length")
            return
        call = self.server.hand_over(body, _lower(self.headers.items()))
        try:
            self._answer(*call.answer)
        finally:
            call.written.set()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base's signature
        """Log nothing: calls log themselves."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer an error in JSON, like every other answer."""
        status = HTTPStatus(code)
        self._answer(status, _error_body(status.phrase.title().replace(" ", ""), message or status.phrase))

    def _answer(self, status: int, body: bytes) -> None:
        self.connection.settimeout(_ANSWER_S)
        # The base class takes a malformed request line for HTTP/0.9, whose answers have neither status nor headers.
        self.request_version = self.protocol_version
        # Not `send_response`, which adds the names and versions of the server and of Python.
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _lower(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _error_body(code: str, message: str) -> bytes:
    return msgspec.json.encode({"errorCode": code, "errorMessage": redact_text(message)})


def main(argv: list[str] | None = None) -> None:
    """Serve the handler that the first argument, or FUNCTION_HANDLER, names, on PORT (9000) until SIGTERM.

    (SCF reserves variables that begin with `SCF_`.)

    Args:
        argv: the arguments; None takes the command line's.
    """
    arguments = sys.argv[1:] if argv is None else argv
    name = arguments[0] if arguments else os.environ.get("FUNCTION_HANDLER", "")
    forbid_core_dumps()
    mask_secrets(os.environ)
    logs.setup(sys.stdout, "INFO", name or "runtime.image")
    if not name:
        sys.exit("name the handler's module, such as consumers.runners.drain, as argument or in FUNCTION_HANDLER")
    try:
        handler = find_handler(name)
    except NoHandler as error:
        sys.exit(str(error))
    server = _listening(handler, os.environ.get("PORT") or str(_PORT))
    try:
        server.run()
    finally:
        close_instance()


def _listening(handler: Handler, port: str) -> Server:
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > _MAX_PORT:
        sys.exit(f"PORT is {port!r}, and must be a number up to {_MAX_PORT}, or not set, which means {_PORT}")
    try:
        return Server(handler, RequestCredentials(os.environ), int(port))
    except OSError as error:
        sys.exit(f"PORT {port} cannot be listened on ({error.strerror}): set PORT to a free one")


if __name__ == "__main__":
    main()
