"""A function's server that follows its event, without any code of the product."""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

kept: list[bytearray] = []
calls = 0


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        global calls  # noqa: PLW0603 - a process's state is the point
        calls += 1
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = 200, {"calls": calls, "pid": os.getpid(), "path": self.path}
        match event:
            case {"sleep": seconds}:
                time.sleep(seconds)
            case {"grow": megabytes}:
                kept.append(bytearray(megabytes << 20))
                kept[-1][::4096] = bytes([1]) * len(kept[-1][::4096])
                time.sleep(30)
            case {"raise": text}:
                status, answer = 500, {"errorCode": "Oops", "errorMessage": text}
            case {"fail_until": number, "file": path}:
                with Path(path).open("a+") as file:
                    file.write("x")
                    file.flush()
                    status = 500 if file.tell() < number else 200
            case {"die": code}:
                os._exit(code)
            case {"headers": _}:
                answer["headers"] = dict(self.headers.items())
            case _:
                answer["event"] = event
        said = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's signature
        """Silent."""


if __name__ == "__main__":
    if "--never" in sys.argv:
        time.sleep(60)
    if "--end" in sys.argv:
        sys.exit(3)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
