"""Sizes, types, statuses and broken bodies: against a local server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx  # noqa: F401 - as above
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from messages.codes import Code
from sandbox.server import Server
from services.errors import FetchFailed, FetchRefused, ResultUnusable
from services.fetch import Fetcher

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
LONG = 2_000_000
MP4 = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(5000)


class Half(Response):
    """Promises the whole and breaks off in the middle."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class HalfChunked(Response):
    """Breaks off without having named a length."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"image/png")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def slowly(body: bytes) -> AsyncIterator[bytes]:
    yield body[:4]
    await asyncio.sleep(30)
    yield body[4:]


async def dripping(body: bytes) -> AsyncIterator[bytes]:
    for at in range(len(body)):
        yield body[at : at + 1]
        await asyncio.sleep(0.1)


ANSWERS: dict[str, Any] = {
    "png": lambda: Response(PNG, media_type="image/png"),
    "jpg-called-png": lambda: Response(b"\xff\xd8\xff\xe0" + bytes(99), media_type="image/png"),
    "png-unnamed": lambda: Response(PNG, media_type="application/octet-stream"),
    "png-nameless": lambda: Response(PNG),
    "png-named-loudly": lambda: Response(PNG, media_type="IMAGE/PNG; charset=binary"),
    "mp4": lambda: Response(MP4, media_type="video/mp4"),
    "long": lambda: Response(PNG + bytes(LONG - len(PNG)), media_type="image/png"),
    "chunked": lambda: StreamingResponse(pieces(PNG, 5000), media_type="image/png"),
    "crumbs": lambda: StreamingResponse(pieces(PNG[:100], 1), media_type="image/png"),
    "html": lambda: Response("<html></html>", media_type="text/html"),
    "html-called-png": lambda: Response(b"<html></html>" + bytes(99), media_type="image/png"),
    "html-unnamed": lambda: Response(b"<!doctype html>" + bytes(99), media_type="application/octet-stream"),
    "png-called-html": lambda: Response(PNG, media_type="text/html"),
    "png-called-text": lambda: Response(PNG, media_type="text/plain"),
    "dripping": lambda: StreamingResponse(dripping(PNG), media_type="image/png"),
    "svg": lambda: Response(b"<svg xmlns='http://www.w3.org/2000/svg'/>", media_type="image/svg+xml"),
    "json": lambda: Response(b'{"code": 0}', media_type="application/json"),
    "empty": lambda: Response(b"", media_type="image/png"),
    "gzip": lambda: Response(PNG, headers={"Content-Encoding": "gzip"}, media_type="image/png"),
    "half": lambda: Half(PNG, media_type="image/png"),
    "half-chunked": lambda: HalfChunked(PNG),
    "slow": lambda: StreamingResponse(slowly(PNG), media_type="image/png"),
    "loop": lambda: Response(status_code=302, headers={"Location": "/loop"}),
    "elsewhere": lambda: Response(status_code=302, headers={"Location": "http://127.0.0.1:1/png"}),
    "moved": lambda: Response(status_code=307, headers={"Location": "/png"}),
    "wait": lambda: Response(status_code=503, headers={"Retry-After": "7"}),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        return Response(status_code=int(name)) if name.isdigit() else ANSWERS[name]()

    with Server(Starlette(routes=[Route("/{name}", answer)])) as running:
        yield running


class Guard:
    """A fetcher that may ask one local server."""

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        pair = f"127.0.0.1:{server.port}"
        self.fetcher = Fetcher(
            allowed_hosts=frozenset(), allow_private=frozenset({pair}), max_bytes=1 << 20, timeout=timeout
        )
        self._url = server.url

    async def get(self, name: str, **more: Any) -> tuple[int, str, bytes]:
        async with self.fetcher.open(f"{self._url}/{name}", **more) as fetched:
            return fetched.size, fetched.content_type, b"".join([piece async for piece in fetched])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.fetcher.close()


@pytest.mark.parametrize(
    ("name", "size", "content_type", "body"),
    [
        ("png", len(PNG), "image/png", PNG),
        ("moved", len(PNG), "image/png", PNG),
        ("png-unnamed", len(PNG), "image/png", PNG),
        ("png-nameless", len(PNG), "image/png", PNG),
        ("png-named-loudly", len(PNG), "image/png", PNG),
        ("jpg-called-png", 103, "image/jpeg", b"\xff\xd8\xff\xe0" + bytes(99)),
        ("png-called-html", len(PNG), "image/png", PNG),
        ("png-called-text", len(PNG), "image/png", PNG),
        ("mp4", len(MP4), "video/mp4", MP4),
        ("chunked", -1, "image/png", PNG),
        ("crumbs", -1, "image/png", PNG[:100]),
    ],
)
async def test_what_is_fetched(name: str, size: int, content_type: str, body: bytes, server: Server) -> None:
    async with Guard(server) as guard:
        assert await guard.get(name) == (size, content_type, body)


@pytest.mark.parametrize("name", ["html", "html-called-png", "html-unnamed", "svg", "json", "empty"])
async def test_another_content_is_unusable_and_may_be_the_file_later(name: str, server: Server) -> None:
    async with Guard(server) as guard:
        with pytest.raises(ResultUnusable) as caught:
            await guard.get(name)
    assert caught.value.code is Code.VENDOR_FAILED


async def test_only_the_types_asked_for(server: Server) -> None:
    async with Guard(server) as guard:
        with pytest.raises(ResultUnusable):
            await guard.get("mp4", types=("image/",))
        assert (await guard.get("mp4", types=("video/mp4",)))[1] == "video/mp4"


@pytest.mark.parametrize("name", ["png", "chunked"])
async def test_the_limit_holds_with_and_without_a_length(name: str, server: Server) -> None:
    async with Guard(server) as guard:
        assert (await guard.get(name, max_bytes=len(PNG)))[2] == PNG
        for limit in (len(PNG) - 1, 10, 0):
            with pytest.raises(FetchRefused) as caught:
                await guard.get(name, max_bytes=limit)
            assert caught.value.code is Code.PICTURE_TOO_LARGE


async def test_a_length_over_the_limit_is_refused_before_the_body_is_read(server: Server) -> None:
    # Half of it is under the limit, and the rest never comes.
    async with Guard(server) as guard:
        with pytest.raises(FetchRefused) as caught:
            await guard.get("half", max_bytes=len(PNG) * 3 // 4)
    assert caught.value.code is Code.PICTURE_TOO_LARGE


async def test_the_fetchers_own_limit(server: Server) -> None:
    guard = Fetcher(
        allowed_hosts=frozenset(), allow_private=frozenset({f"127.0.0.1:{server.port}"}), max_bytes=99, timeout=5.0
    )
    with pytest.raises(FetchRefused):
        async with guard.open(f"{server.url}/png"):
            pass
    await guard.close()


@pytest.mark.parametrize("name", ["half", "half-chunked", "slow"])
async def test_bodies_that_break_off(name: str, server: Server) -> None:
    async with Guard(server, timeout=2.0) as guard:
        with pytest.raises(FetchFailed):
            await guard.get(name)
        assert (await guard.get("png"))[2] == PNG


async def test_a_download_has_a_limit_as_a_whole(server: Server) -> None:
    async with Guard(server, timeout=5.0) as guard:
        with pytest.raises(FetchFailed, match="no time left"):
            await guard.get("dripping", total=0.5)


async def test_an_encoding_that_was_not_asked_for(server: Server) -> None:
    async with Guard(server) as guard:
        with pytest.raises(ResultUnusable):
            await guard.get("gzip")


async def test_each_status(server: Server) -> None:
    expected = {
        **dict.fromkeys((408, 425, 429, 500, 502, 503, 504), FetchFailed),
        **dict.fromkeys((400, 401, 402, 403, 404, 405, 406, 410, 414, 416, 451, 201, 204, 206, 304), ResultUnusable),
    }
    caught: dict[int, type[Exception]] = {}
    async with Guard(server) as guard:
        for status in expected:
            with pytest.raises((FetchFailed, ResultUnusable)) as error:
                await guard.get(str(status))
            caught[status] = type(error.value)
    assert caught == expected


async def test_the_wait_the_server_asks_for(server: Server) -> None:
    async with Guard(server) as guard:
        with pytest.raises(FetchFailed) as caught:
            await guard.get("wait")
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("name", ["loop", "elsewhere"])
async def test_redirects_that_lead_nowhere(name: str, server: Server) -> None:
    async with Guard(server) as guard:
        with pytest.raises(ResultUnusable):
            await guard.get(name)


async def test_a_reader_may_stop_in_the_middle(server: Server) -> None:
    async with Guard(server) as guard:
        for _ in range(20):
            async with guard.fetcher.open(f"{server.url}/chunked") as fetched:
                async for piece in fetched:
                    assert piece.startswith(b"\x89PNG")
                    break
        with pytest.raises(ZeroDivisionError):
            async with guard.fetcher.open(f"{server.url}/png"):
                raise ZeroDivisionError


async def test_many_at_once(server: Server) -> None:
    async with Guard(server) as guard, asyncio.TaskGroup() as group:
        tasks = [group.create_task(guard.get("png")) for _ in range(40)]
        await asyncio.wait(tasks)
    assert all(task.result()[2] == PNG for task in tasks)


async def test_a_download_says_whether_a_cut_would_be_noticed(server: Server) -> None:
    async with Guard(server) as guard:
        for name, size, framed in (("png", len(PNG), True), ("chunked", -1, True)):
            async with guard.fetcher.open(f"{server.url}/{name}") as fetched:
                assert (fetched.size, fetched.framed) == (size, framed)


async def test_it_is_handed_on_in_large_pieces_whatever_the_network_brings(server: Server) -> None:
    """Each piece crosses to the thread that sends it on: in small ones a large result takes twice as long."""
    async with Guard(server) as guard, guard.fetcher.open(f"{server.url}/long", max_bytes=LONG) as fetched:
        sizes = [len(piece) async for piece in fetched]
    assert sum(sizes) == LONG
    assert min(sizes[:-1]) >= 512 << 10
    assert max(sizes) < 1 << 20


async def test_the_system_is_asked_for_names(server: Server) -> None:
    guard = Fetcher(
        allowed_hosts=frozenset({"localhost"}),
        allow_private=frozenset({f"localhost:{server.port}"}),
        max_bytes=1 << 20,
        timeout=5.0,
    )
    async with guard.open(f"http://localhost:{server.port}/png") as fetched:
        assert fetched.size == len(PNG)
    with pytest.raises(ResultUnusable, match="not public"):
        async with guard.open("https://localhost/png"):
            pass
    await guard.close()
