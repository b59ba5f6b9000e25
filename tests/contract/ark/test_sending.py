"""How requests leave: one connection a paid call, no repeat, bounded answers."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from services.errors import CreateUnknown, VendorDown
from services.vendors.port import JobRequest
from tests.contract.ark.calls import order
from tests.support.raw_server import EndlessAnswer, Reader, Writer, ok, raw_server, read_request_body

DONE = ok(b'{"data": [{"url": "https://a.example/1.jpeg"}]}')


async def test_each_paid_call_has_a_connection_of_its_own(client_for: Any) -> None:
    connections = 0

    async def answer(head: bytes, reader: Reader, writer: Writer) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request_body(head, reader)
            writer.write(DONE)
            head = await reader.readuntil(b"\r\n\r\n")

    async with raw_server(answer) as url:
        client = client_for(url)
        for number in range(1, 4):
            await client.create(order(), timeout=20.0)
            assert connections == number
        await client.close()


async def test_what_a_create_says(client_for: Any, key: str) -> None:
    said = b""

    async def answer(head: bytes, reader: Reader, writer: Writer) -> None:
        nonlocal said
        length = int(re.findall(rb"content-length: (\d+)", head, re.IGNORECASE)[0])
        said = head + await reader.readexactly(length)
        writer.write(DONE)

    inputs = {"b": "https://cos.example/b.jpg?sign=1", "a": "data:image/png;base64,AAAA"}
    request = JobRequest("k", inputs, {"prompt": "海边", "size": "2K"}, webhook="https://a.example/h/1", identity="f0")
    async with raw_server(answer) as url:
        client = client_for(url)
        await client.create(request, timeout=20.0)
        await client.close()
    assert said.startswith(b"POST /api/v3/images/generations HTTP/1.1\r\n")
    assert f"Authorization: Bearer {key}\r\n".encode() in said
    assert msgspec.json.decode(said.partition(b"\r\n\r\n")[2]) == {
        "model": "doubao-seedream-4-0-250828",
        "prompt": "海边",
        "image": list(inputs.values()),
        "size": "2K",
        "sequential_image_generation": "disabled",
        "stream": False,
        "response_format": "url",
        "watermark": False,
    }


async def test_a_model_without_modes_is_not_told_of_them(client_for: Any) -> None:
    bodies: list[dict[str, Any]] = []

    async def answer(head: bytes, reader: Reader, writer: Writer) -> None:
        length = int(re.findall(rb"content-length: (\d+)", head, re.IGNORECASE)[0])
        bodies.append(msgspec.json.decode(await reader.readexactly(length)))
        writer.write(DONE)

    async with raw_server(answer) as url:
        client = client_for(url, model="doubao-seedream-5-0-pro-260628")
        await client.create(order(size="2K", format="png"), timeout=20.0)
        await client.close()
    assert {"sequential_image_generation", "stream"} & bodies[0].keys() == set()
    assert bodies[0]["output_format"] == "png"


@pytest.mark.parametrize("status", ["429 Full", "500 Error", "503 Busy", "307 Moved"])
async def test_nothing_is_sent_twice(status: str, client_for: Any) -> None:
    requests = 0

    async def answer(head: bytes, reader: Reader, writer: Writer) -> None:
        nonlocal requests
        requests += 1
        await read_request_body(head, reader)
        writer.write(f"HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nx-should-retry: true\r\n".encode())
        writer.write(b"Content-Length: 0\r\n\r\n")

    async with raw_server(answer) as url:
        client = client_for(url)
        with pytest.raises(Exception, match=status[:3]):
            await client.create(order(), timeout=20.0)
        with pytest.raises(VendorDown, match=status[:3]):
            await client.check_room()
        await client.close()
    assert requests == 2


async def test_an_answer_that_has_no_end_is_not_read_to_it(client_for: Any) -> None:
    answer = EndlessAnswer()
    async with raw_server(answer) as url:
        client = client_for(url, timeout=30.0)
        with pytest.raises(CreateUnknown):
            await client.create(order(), timeout=30.0)
        await client.close()
    # Data in the sockets between them is not read either.
    assert answer.written < 50 << 20
