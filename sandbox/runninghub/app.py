"""The stand-in as one ASGI app: v1, v2, the result files, and the interface for tests.

POST and DELETE /_sandbox/faults    arms a fault (`sandbox.runninghub.model.Fault`), or disarms all
GET /_sandbox/stats                 counts, and every job ever accepted, which is every paid one
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.control import control_routes
from sandbox.runninghub.core import Core
from sandbox.runninghub.files import serve_file
from sandbox.runninghub.handlers import RequestHandlers
from sandbox.runninghub.model import DEMO_WORKFLOWS, Fault, KeyLimits, Shape
from sandbox.runninghub.pictures import Pictures
from sandbox.runninghub.v1 import V1
from sandbox.runninghub.v2 import V2
from sandbox.runninghub.webhooks import Webhooks, post

__all__ = ["create_app"]


def create_app(  # noqa: PLR0913 - the parameters of a stand-in, all by name
    *,
    api_keys: Mapping[str, KeyLimits],
    data_dir: Path,
    workflows: Mapping[str, Shape] = DEMO_WORKFLOWS,
    duration_s: float = 2.0,
    time_scale: float = 1.0,
    url_ttl_s: float = 86_400.0,
    clock: Callable[[], float] = time.time,
    public_url: Callable[[], str] | str = "",
    seed: int = 0,
    executor: Executor | None = None,
) -> Starlette:
    """Create the app; `app.state.core` arms faults and counts, `app.state.webhooks` delivers (the lifespan runs it).

    Args:
        api_keys: key -> its limits.
        data_dir: folder of uploads and results, created when needed.
        workflows: id -> its inputs and outputs.
        duration_s: duration of a job in seconds, varied by up to a fifth.
        time_scale: factor for durations, waits and lives of URLs.
        url_ttl_s: seconds until a result's URL expires.
        clock: seconds, for the states of jobs and the lives of URLs. Webhooks wait on the event loop.
        public_url: base of the results' URLs, or a function that returns it later; empty for the base of each request.
        seed: the same seed and calls give the same durations and pictures.
        executor: runs blocking work (pictures and files); by default two threads.
    """
    core = Core(
        api_keys=api_keys,
        workflows=workflows,
        clock=clock,
        duration_s=duration_s * time_scale,
        url_ttl_s=url_ttl_s * time_scale,
        seed=seed,
    )
    threads = executor or ThreadPoolExecutor(2, "sandbox-runninghub")
    handlers = RequestHandlers(core, Pictures(data_dir, seed), threads, public_url)
    handlers.webhooks = Webhooks(handlers.event_data, clock=clock, time_scale=time_scale, send=post)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        async with handlers.webhooks:
            yield
        threads.shutdown(wait=False, cancel_futures=True)

    app = Starlette(routes=[*V2(handlers).routes(), *V1(handlers).routes(), *_routes(handlers)], lifespan=lifespan)
    app.state.core = core
    app.state.webhooks = handlers.webhooks
    return app


def _routes(handlers: RequestHandlers) -> list[Route]:
    async def file(request: Request) -> Response:
        return await serve_file(request, handlers)

    return [Route("/files/{token}.{type}", file), *control_routes(handlers.core, Fault)]
