"""The stand-in as one ASGI app: v1, v2, the results' files, and the switches for tests.

POST and DELETE /_sandbox/faults    what is to go wrong (`sandbox.runninghub.model.Fault`), and no more of it
GET /_sandbox/stats                 counts, and every job ever accepted: the paid ones
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.runninghub.core import Core
from sandbox.runninghub.files import serve_file
from sandbox.runninghub.handlers import Desk, reply
from sandbox.runninghub.model import DEMO_WORKFLOWS, Fault, KeyLimits, Shape
from sandbox.runninghub.pictures import Pictures
from sandbox.runninghub.v1 import V1
from sandbox.runninghub.v2 import V2
from sandbox.runninghub.webhooks import Webhooks, post

__all__ = ["create_app"]


def create_app(  # noqa: PLR0913 - the knobs of a stand-in, all by name
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
    """The app; `app.state.core` arms faults and counts, `app.state.webhooks` delivers (the lifespan runs it).

    Args:
        api_keys: key -> what it may do.
        data_dir: folder for uploads and results, made when needed.
        workflows: id -> what it takes and makes.
        duration_s: how long a job takes, give or take a fifth.
        time_scale: durations, waits and URL lives are this many times as long.
        url_ttl_s: how long a result's URL is good.
        clock: seconds; what a job's state and a URL's life are counted by. Webhooks wait on the event loop.
        public_url: base of the results' URLs, or a function that tells it later; empty for that of each request.
        seed: same seed, same calls: same durations and pictures.
        executor: runs what blocks, pictures and files; by default two threads.
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
    desk = Desk(core, Pictures(data_dir, seed), threads, public_url)
    desk.webhooks = Webhooks(desk.event_data, clock=clock, time_scale=time_scale, send=post)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        async with desk.webhooks:
            yield
        threads.shutdown(wait=False, cancel_futures=True)

    app = Starlette(routes=[*V2(desk).routes(), *V1(desk).routes(), *_routes(desk)], lifespan=lifespan)
    app.state.core = core
    app.state.webhooks = desk.webhooks
    return app


def _routes(desk: Desk) -> list[Route]:
    async def file(request: Request) -> Response:
        return await serve_file(request, desk)

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            desk.core.disarm()
            return Response(status_code=204)
        try:
            fault = msgspec.json.decode(await request.body(), type=Fault)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return reply({"error": str(error)}, 422)
        desk.core.arm(fault)
        return Response(status_code=204)

    async def stats(_: Request) -> Response:
        return reply(desk.core.stats())

    return [
        Route("/files/{token}.png", file),
        Route("/_sandbox/faults", faults, methods=["POST", "DELETE"]),
        Route("/_sandbox/stats", stats),
    ]
