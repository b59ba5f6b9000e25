"""How requests leave: one connection a create, bounded answers, uploads with flat memory."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from services.errors import CreateUnknown, VendorDown
from services.vendors.port import JobRequest
from services.vendors.runninghub.multipart import Multipart
from tests.support.leap import set_ahead
from tests.support.raw_server import EndlessAnswer, Reader, Writer, ok, raw_server, read_request_body

ORDER = JobRequest("model_pose12", {"photo": "openapi/x.jpg"})


async def test_a_create_has_a_connection_of_its_own(client_for: Any) -> None:
    connections = 0

    async def answer(head: bytes, reader: Reader, writer: Writer) -> None:
        nonlocal connections
        connections += 1
        while True:
            if b"POST" in head:
                await read_request_body(head, reader)
            writer.write(ok(b'{"code": 804, "taskId": "5", "status": "RUNNING"}'))
            head = await reader.readuntil(b"\r\n\r\n")

    async with raw_server(answer) as url:
        client = client_for(url)
        await client.query("5")
        await client.query("5")
        assert connections == 1
        await client.create(ORDER, timeout=20.0)
        assert connections == 2
        await client.create(ORDER, timeout=20.0)
        assert connections == 3
        await client.query("5")
        assert connections == 3
        await client.close()


async def test_what_a_create_says(client_for: Any, key: str, api: str) -> None:
    said = b""

    async def answer(head: bytes, reader: Reader, writer: Writer) -> None:
        nonlocal said
        length = int(re.findall(rb"content-length: (\d+)", head, re.IGNORECASE)[0])
        said = head + await reader.readexactly(length)
        writer.write(ok(b'{"taskId": "5"}'))

    async with raw_server(answer) as url:
        client = client_for(url)
        request = JobRequest(
            "model_pose12", {"photo": "openapi/x.jpg"}, {"prompt": "海边"}, webhook="https://a.example/h/1"
        )
        await client.create(request, timeout=20.0)
        await client.close()
    path = "/openapi/v2/run/workflow/1990000000000000012" if api == "v2" else "/task/openapi/create"
    assert said.startswith(f"POST {path} HTTP/1.1\r\n".encode())
    body = msgspec.json.decode(said.partition(b"\r\n\r\n")[2])
    mine = {name: body[name] for name in ("apiKey", "workflowId") if name in body}
    assert mine == ({} if api == "v2" else {"apiKey": key, "workflowId": "1990000000000000012"})
    assert f"Authorization: Bearer {key}\r\n".encode() in said
    assert '{"nodeId":"6","fieldName":"text","fieldValue":"海边"}'.encode() in said
    assert b'"addMetadata":false' in said
    assert b'"webhookUrl":"https://a.example/h/1"' in said


async def test_an_answer_that_has_no_end_is_not_read_to_it(client_for: Any) -> None:
    answer = EndlessAnswer()
    async with raw_server(answer) as url:
        client = client_for(url, timeout=30.0)
        with pytest.raises(VendorDown):
            await client.query("5")
        with pytest.raises(CreateUnknown):
            await client.create(ORDER, timeout=30.0)
        await client.close()
    # Data in the sockets between them is not read either.
    assert answer.written < 50 << 20


async def test_an_answer_that_trickles_ends_with_the_limit(client_for: Any) -> None:
    async def answer(_: bytes, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        while not reader.at_eof():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)
            # No wait for a blank is long; all together are longer than the limit.
            set_ahead(asyncio.get_running_loop(), 1.0)

    async with raw_server(answer) as url:
        client = client_for(url, timeout=20.0)
        with pytest.raises(VendorDown):
            await client.query("5")
        with pytest.raises(CreateUnknown):
            await client.create(ORDER, timeout=20.0)
        await client.close()


async def test_a_redirect_is_not_followed_with_the_key(client_for: Any) -> None:
    requests = 0

    async def answer(_: bytes, __: Reader, writer: Writer) -> None:
        nonlocal requests
        requests += 1
        writer.write(b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(answer) as url:
        client = client_for(url)
        with pytest.raises(VendorDown):
            await client.query("5")
        with pytest.raises(CreateUnknown):
            await client.create(ORDER, timeout=20.0)
        await client.close()
    assert requests == 2


class Blocks:
    """20 MB that exist only piece by piece."""

    size = 20 << 20

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(1 << 20)


async def test_an_upload_takes_no_memory_of_its_size(client_for: Any) -> None:
    received = 0

    async def answer(head: bytes, reader: Reader, writer: Writer) -> None:
        nonlocal received
        received = await read_request_body(head, reader)
        writer.write(ok(b'{"code":0,"data":{"fileName":"openapi/a.jpg"}}', "Connection: close\r\n"))

    async with raw_server(answer) as url:
        client = client_for(url)
        tracemalloc.start(1)
        try:
            await client.upload(Blocks(), filename="a.jpg", content_type="image/jpeg")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        await client.close()
    assert received > Blocks.size
    assert peak < 8 << 20


@pytest.mark.parametrize("fields", [{}, {"apiKey": "k-1", "fileType": "input"}], ids=["file", "fields and file"])
async def test_a_form_is_what_others_read(fields: dict[str, str]) -> None:
    source = httpx.ByteStream(b"\x00\xffdata\r\n")

    class Short:
        size = 8

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in source:
                yield piece

    form = Multipart(Short(), field="file", filename="a b.jpg", content_type="image/jpeg", boundary="b0", fields=fields)
    body = b"".join([piece async for piece in form])
    expected = httpx.Request(
        "POST",
        "http://x",
        data=fields,
        files={"file": ("a_b.jpg", b"\x00\xffdata\r\n", "image/jpeg")},
        headers={"Content-Type": "multipart/form-data; boundary=b0"},
    )
    assert body == expected.read()
    assert form.headers["Content-Length"] == str(len(body))
