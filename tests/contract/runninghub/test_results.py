"""A job's results through the guarded download: intact, and with each fault of the files."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.errors import FetchFailed, FetchRefused, ResultUnusable
from services.fetch import Fetcher
from services.vendors.port import JobRequest
from services.vendors.runninghub.client import RunningHub


class Photo:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size = len(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


@asynccontextmanager
async def finished(standin: Any, client: RunningHub, photo: bytes) -> AsyncIterator[tuple[str, Fetcher]]:
    """A job that has ended well, and a fetcher that may ask the stand-in."""
    fetcher = Fetcher(
        allowed_hosts=client.result_hosts,
        allow_private=frozenset({f"127.0.0.1:{standin.port}"}),
        max_bytes=8 << 20,
        timeout=20.0,
    )
    try:
        reference = await client.upload(Photo(photo), filename="input.jpg", content_type="image/jpeg")
        job = (await client.create(JobRequest("model_pose12", {"photo": reference}), timeout=20.0)).id
        standin.finish_jobs()
        yield job, fetcher
    finally:
        await fetcher.close()
        await client.close()


async def digest(fetcher: Fetcher, url: str) -> tuple[str, str]:
    async with fetcher.open(url) as fetched:
        pieces = [piece async for piece in fetched]
        assert sum(map(len, pieces)) == fetched.size
        return fetched.content_type, hashlib.sha256(b"".join(pieces)).hexdigest()


async def read(fetcher: Fetcher, url: str) -> int:
    """Limit of bytes: without a length header, only reading shows the size."""
    async with fetcher.open(url) as fetched:
        return sum([len(piece) async for piece in fetched])


async def test_twelve_different_pictures_come_home(standin: Any, client_for: Any, photo: bytes) -> None:
    client = client_for(standin.url)
    async with finished(standin, client, photo) as (job, fetcher):
        status = await client.query(job, kind="model_pose12")
        got = [await digest(fetcher, file.url) for file in status.files]
    assert {content_type for content_type, _ in got} == {"image/png"}
    assert len({content for _, content in got}) == 12


async def test_an_expired_url_is_mended_by_asking_again(standin: Any, client_for: Any, photo: bytes) -> None:
    client = client_for(standin.url)
    async with finished(standin, client, photo) as (job, fetcher):
        standin.arm("query", "expired_urls")
        expired = (await client.query(job)).files[0]
        with pytest.raises(ResultUnusable, match="403"):
            await digest(fetcher, expired.url)
        assert await digest(fetcher, (await client.query(job)).files[0].url)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "missing"}, ResultUnusable),
        ({"kind": "expired"}, ResultUnusable),
        ({"kind": "error", "status": 503}, FetchFailed),
        ({"kind": "cut"}, FetchFailed),
        ({"kind": "html"}, ResultUnusable),
        ({"kind": "huge"}, FetchRefused),
        ({"kind": "endless"}, FetchRefused),
    ],
    ids=str,
)
async def test_files_that_go_wrong(
    fault: dict[str, Any], error: type[Exception], standin: Any, client_for: Any, photo: bytes
) -> None:
    client = client_for(standin.url)
    async with finished(standin, client, photo) as (job, fetcher):
        url = (await client.query(job)).files[0].url
        standin.arm("file", **fault)
        with pytest.raises(error):
            await read(fetcher, url)
        assert await digest(fetcher, url)
