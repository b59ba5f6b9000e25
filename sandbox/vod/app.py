"""The stand-in as an ASGI app: the interface, the files, and what tests and the sandbox ask it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route

from sandbox.control import control_routes
from sandbox.vod.core import Core
from sandbox.vod.handlers import RequestHandlers
from sandbox.vod.model import Account, Fault
from sandbox.vod.pictures import Pictures

__all__ = ["create_app"]


def create_app(  # noqa: PLR0913 - each is an independent setting
    *,
    accounts: Mapping[str, Account],
    data_dir: Path,
    duration_s: float = 2.0,
    lag_s: float = 0.0,
    url_ttl_s: float = 7 * 86_400.0,
    clock: Callable[[], float] = time.time,
    public_url: Callable[[], str] | str = "",
    seed: int = 0,
    executor: Executor | None = None,
) -> Starlette:
    """Create the app; `app.state.core` arms faults and counts.

    Args:
        accounts: SecretId -> account.
        data_dir: folder of reference pictures, created when needed.
        duration_s: seconds that a job takes, varied by up to a fifth.
        lag_s: seconds until a job is in the list.
        url_ttl_s: seconds until the link to a result expires.
        clock: seconds since the epoch, for signatures, jobs and links.
        public_url: base of the links to results, or a function that returns it later; empty for the base of each
            request.
        seed: the same seed and calls give the same durations, ids and pictures.
        executor: runs blocking work (pictures and files); by default two threads.
    """
    core = Core(accounts=accounts, clock=clock, duration_s=duration_s, lag_s=lag_s, url_ttl_s=url_ttl_s, seed=seed)
    threads = executor or ThreadPoolExecutor(2, "sandbox-vod")
    handlers = RequestHandlers(core, Pictures(data_dir, seed), threads, public_url)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        yield
        threads.shutdown(wait=False, cancel_futures=True)

    app = Starlette(routes=_routes(handlers), lifespan=lifespan)
    app.state.core = core
    return app


def _routes(handlers: RequestHandlers) -> list[Route]:
    return [
        Route("/", handlers.call, methods=["POST"]),
        *control_routes(handlers.core, Fault),
        Route("/results/{name}/{file}", handlers.file, methods=["GET", "HEAD"]),
    ]
