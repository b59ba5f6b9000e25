"""Real TLS: the connection goes to an address, and the certificate must be for the name."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx
import pytest

from services.errors import FetchFailed
from services.fetch import Fetcher

HOST = "results.example"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of HOST."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the command openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    command += ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def server_side(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.fixture
def client_side(pem: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=f"{pem}.crt")


@asynccontextmanager
async def serving(context: ssl.SSLContext, names: list[str | None]) -> AsyncIterator[int]:
    def note(_: ssl.SSLObject | ssl.SSLSocket, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(PNG) + PNG)
        await writer.drain()
        writer.close()

    context.sni_callback = note
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def resolve(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def fetch(host: str, port: int, trust: ssl.SSLContext) -> bytes:
    guard = Fetcher(
        allowed_hosts=frozenset(),
        allow_private=frozenset({f"{host}:{port}"}),
        max_bytes=1000,
        timeout=5.0,
        resolve=resolve,
        transport=lambda: httpx.AsyncHTTPTransport(verify=trust, trust_env=False),
    )
    try:
        async with guard.open(f"https://{host}:{port}/a.png") as fetched:
            return b"".join([piece async for piece in fetched])
    finally:
        await guard.close()


async def test_the_name_is_told_and_its_certificate_taken(
    server_side: ssl.SSLContext, client_side: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    async with serving(server_side, names) as port:
        assert await fetch(HOST, port, client_side) == PNG
    assert names == [HOST]


async def test_the_certificate_of_another_name_is_not_taken(
    server_side: ssl.SSLContext, client_side: ssl.SSLContext
) -> None:
    async with serving(server_side, []) as port:
        with pytest.raises(FetchFailed, match=r"other.example: no connection: its certificate is not trusted"):
            await fetch("other.example", port, client_side)
