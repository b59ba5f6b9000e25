"""The API under uvicorn: on a machine, or on port 9000 of the image as a web function."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Final

import uvicorn
from starlette.applications import Starlette

from producer.api.http.app import create_app
from producer.api.http.opening import open_process, origins_of
from runtime.settings import load_settings
from runtime.wiring import open_telemetry, set_up_logs

__all__ = ["Server", "run_server"]

_SERVICE: Final = "producer.api"
_GRACE_S: Final = 10
_KEEP_ALIVE_S: Final = 75
_BACKLOG: Final = 2048


class Server(uvicorn.Server):
    """A server whose streams end when it is asked to stop: uvicorn would wait for them.

    Args:
        app: the app.
        host: address to listen on.
        port: the port.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="on",
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_GRACE_S,
                backlog=_BACKLOG,
                server_header=False,
                # The path of a request in a log may hold an id; our own events have the necessary facts.
                log_level="warning",
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        api = getattr(self._app.state, "api", None)
        if api is not None:
            api.watch.close()
        super().handle_exit(sig, frame)


def run_server(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        host: address to listen on.
        port: the port.

    Raises:
        runtime.errors.BadSettings: a variable is missing or cannot be used.
    """
    settings = load_settings(os.environ)
    set_up_logs(sys.stdout, settings, _SERVICE, os.environ)
    exporters = open_telemetry(settings, _SERVICE)
    try:
        app = create_app(lambda: open_process(settings), origins_of(settings))
        Server(app, host, port).run()
    finally:
        exporters.close()
