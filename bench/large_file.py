"""Transfer of a vendor's large result to COS: our streaming against the SDK's upload of the same body from disk.

Vendor and COS run on loopback in processes of their own; the worker's memory is measured in a process that does nothing
else.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.apart import measure_apart
from bench.figures import Figure

__all__ = ["measure"]

SIZE = 100 << 20
_REPEATS = 5
_MIB = 1 << 20
_WORKER = "bench.large_file_worker"


def _serve_cos(data: str, ready: Any) -> None:  # noqa: ANN401 - a pipe's end
    from sandbox.cos.app import create_app
    from sandbox.server import Server

    app = create_app(data_dir=Path(data) / "cos", buckets=("bench-1250000000",), credentials={"AKIDbench": "bench-key"})
    server = Server(app).start()
    ready.send(server.url)
    ready.recv()
    server.stop()


class _Sender(BaseHTTPRequestHandler):
    """Sends one file with sendfile, so that the vendor does not limit the measurement."""

    protocol_version = "HTTP/1.1"
    path_to_file = ""

    def do_GET(self) -> None:
        """Send the file."""
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        self.wfile.flush()
        # To warm up, the worker opens the file once and disconnects.
        with open(self.path_to_file, "rb") as body, contextlib.suppress(ConnectionError):  # noqa: PTH123 - for sendfile
            self.connection.sendfile(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Do not log."""


def _serve_file(path: str, ready: Any) -> None:  # noqa: ANN401 - a pipe's end
    _Sender.path_to_file = path
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sender)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready.send(f"http://127.0.0.1:{server.server_address[1]}")
    ready.recv()
    server.shutdown()


def measure() -> Iterator[Figure]:
    """Measure the speed relative to the SDK's, and the memory above idle."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        # Only the first bytes are those of an mp4; the rest is not checked.
        path.write_bytes(b"\0\0\0\x18ftypmp42" + os.urandom(_MIB - 12) + os.urandom(_MIB) * (SIZE // _MIB - 1))
        context = multiprocessing.get_context("spawn")
        ends = []
        for target, argument in ((_serve_cos, folder), (_serve_file, str(path))):
            ours, theirs = context.Pipe()
            process = context.Process(target=target, args=(argument, theirs))
            process.start()
            ends.append((ours, process, ours.recv()))
        try:
            where = (ends[0][2], ends[1][2], str(path))
            rows = [
                (measure_apart(_WORKER, "stream", *where), measure_apart(_WORKER, "sdk", *where))
                for _ in range(_REPEATS)
            ]
        finally:
            for ours, process, _ in ends:
                ours.send("stop")
                process.join(30)
    yield Figure.of("large_file_mb_s", [SIZE / 1e6 / ours["seconds"] for ours, _ in rows], "MB/s")
    yield Figure.of("large_file_sdk_mb_s", [SIZE / 1e6 / sdk["seconds"] for _, sdk in rows], "MB/s")
    yield Figure.of("large_file_vs_sdk", [sdk["seconds"] / ours["seconds"] for ours, sdk in rows], "x")
    yield Figure.of("large_file_rss_above_idle", [ours["grown_mib"] for ours, _ in rows], "MiB")
