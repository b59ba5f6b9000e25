"""The stand-in as one ASGI app: the generation of pictures, the result files, and the interface for tests.

POST and DELETE /_sandbox/faults    arms a fault (`sandbox.ark.model.Fault`), or disarms all
GET /_sandbox/stats                 counts, and every request ever accepted, which is every paid one
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route

from sandbox.ark.core import Core
from sandbox.ark.handlers import RequestHandlers
from sandbox.ark.model import MODELS, Fault, KeyLimits, Model
from sandbox.ark.pictures import Pictures
from sandbox.control import control_routes

__all__ = ["create_app"]


def create_app(  # noqa: PLR0913 - the parameters of a stand-in, all by name
    *,
    api_keys: Mapping[str, KeyLimits],
    data_dir: Path,
    models: Mapping[str, Model] = MODELS,
    duration_s: float = 2.0,
    url_ttl_s: float = 86_400.0,
    clock: Callable[[], float] = time.time,
    public_url: Callable[[], str] | str = "",
    seed: int = 0,
    executor: Executor | None = None,
) -> Starlette:
    """Create the app; `app.state.core` arms faults and counts.

    Args:
        api_keys: key -> its limits.
        data_dir: folder of reference pictures, created when needed.
        models: models and endpoints of every account.
        duration_s: seconds that a picture takes, varied by up to a fifth.
        url_ttl_s: seconds until the link to a result expires.
        clock: seconds, for limits by the minute and lives of links.
        public_url: base of the links to results, or a function that returns it later; empty for the base of each
            request.
        seed: the same seed and calls give the same durations and pictures.
        executor: runs blocking work (pictures and files); by default two threads.
    """
    core = Core(api_keys=api_keys, models=models, clock=clock, duration_s=duration_s, url_ttl_s=url_ttl_s, seed=seed)
    threads = executor or ThreadPoolExecutor(2, "sandbox-ark")
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
        Route("/api/v3/images/generations", handlers.generate, methods=["POST"]),
        *control_routes(handlers.core, Fault),
        Route("/{model}/{token}.{format}", handlers.file, methods=["GET", "HEAD"]),
    ]
