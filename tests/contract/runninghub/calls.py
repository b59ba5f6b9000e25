"""Sources, orders and a plain HTTP client of both generations, for these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from sandbox.runninghub import DEMO_WORKFLOW_ID
from services.vendors.port import JobRequest
from services.vendors.runninghub.client import RunningHub


class Bytes:
    """A source in pieces; `size` may lie, and it may break."""

    def __init__(self, body: bytes, *, size: int | None = None, error: Exception | None = None) -> None:
        self._body = body
        self._error = error
        self.size = len(body) if size is None else size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 65_536):
            yield self._body[start : start + 65_536]
        if self._error:
            raise self._error


@asynccontextmanager
async def opened(client: RunningHub) -> AsyncIterator[RunningHub]:
    try:
        yield client
    finally:
        await client.close()


async def upload(client: RunningHub, photo: bytes) -> str:
    return await client.upload(Bytes(photo), filename="input.jpg", content_type="image/jpeg")


async def order(client: RunningHub, photo: bytes, **values: str) -> JobRequest:
    return JobRequest("model_pose12", {"photo": await upload(client, photo)}, values)


async def start(client: RunningHub, photo: bytes, *, webhook: str = "") -> str:
    request = await order(client, photo)
    return (await client.create(msgspec.structs.replace(request, webhook=webhook), timeout=20.0)).id


class Caller:
    """Speaks HTTP without the product's client."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self.http = http
        self.key = key

    async def v1(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.http.post(path, json={"apiKey": self.key, **body})
        return dict(answer.json())

    async def v2(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.http.post(f"/openapi/v2{path}", json=body, headers=self.bearer)
        return dict(answer.json())

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def upload(self, photo: bytes) -> str:
        files = {"file": ("photo.jpg", photo, "image/jpeg")}
        answer = await self.http.post("/openapi/v2/media/upload/binary", files=files, headers=self.bearer)
        return str(answer.json()["data"]["fileName"])

    async def create(self, photo: str, **more: Any) -> dict[str, Any]:
        nodes = [{"nodeId": "10", "fieldName": "image", "fieldValue": photo}]
        return await self.v2(f"/run/workflow/{DEMO_WORKFLOW_ID}", nodeInfoList=nodes, **more)

    async def stats(self) -> dict[str, Any]:
        return dict((await self.http.get("/_sandbox/stats")).json())


@asynccontextmanager
async def calling(url: str, key: str) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=10.0) as http:  # noqa: S501 - http
        yield Caller(http, key)
