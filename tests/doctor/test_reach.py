"""The doctor names the reason why a service cannot be reached: each fault has its own text and its own remedy."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from console.doctor.doctor import Finding, _checked, examine
from console.processes.handlers import HANDLERS
from producer.checks import backend_checks
from sandbox.environment import Sandbox
from services.backend import Backend
from services.reach import Address, Fault, diagnose
from telemetry.secrets import Secret

SECRET = Secret("the-callback-secret-of-the-tests-of-reach")
PAGE = {"rows": [], "cursor": None}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the command openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@asynccontextmanager
async def serving(
    answer: bytes = b'{"rows": [], "cursor": null}',
    *,
    pem: Path | None = None,
    status: str = "200 OK",
    more: str = "",
    waits: bool = False,
) -> AsyncGenerator[int]:
    """A server that answers every request alike. Yields its port."""
    context = None
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if first == b"G" or waits:
                await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n{more}Connection: close\r\n\r\n"
            writer.write(head.encode() + answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def look(url: str) -> Finding:
    """The doctor's finding about a backend."""
    backend = Backend(base_url=url, secret=SECRET, clock=time.time)
    try:
        checks = [
            msgspec.structs.replace(check, address=Address(url, "BACKEND_URL"))
            for check in backend_checks(backend, clock=time.time, nonce=lambda: "x")[:1]
        ]
        (finding,) = await _checked(checks)
    finally:
        await backend.close()
    return finding


def alone(coroutine: object) -> Finding:
    # A plain test: loading certificates blocks, which the product does in a thread.
    return asyncio.run(coroutine)  # type: ignore[arg-type]


def test_where_nothing_listens_it_says_so() -> None:
    port = free_port()
    found = alone(look(f"http://127.0.0.1:{port}"))
    assert found == Finding(
        "backend",
        ok=False,
        detail=f"nothing listens at 127.0.0.1:{port}",
        remedy="start what should listen there, or correct host and port in BACKEND_URL",
    )


def test_a_name_that_does_not_exist_is_named() -> None:
    found = alone(look("https://backend.invalid"))
    assert found.detail.startswith("there is no such name: backend.invalid")
    assert found.remedy.startswith("correct the host in BACKEND_URL")


def test_a_certificate_that_is_not_trusted_is_said_to_be(pem: Path) -> None:
    async def case() -> Finding:
        async with serving(pem=pem) as port:
            return await look(f"https://localhost:{port}")

    found = alone(case())
    assert "is not trusted: self" in found.detail
    assert found.remedy == "let it be of a public authority, and for the host in BACKEND_URL"


@pytest.mark.slow
def test_tls_to_a_port_without_it_and_the_other_way_round(pem: Path) -> None:
    async def plain() -> Finding:
        async with serving() as port:
            return await look(f"https://127.0.0.1:{port}")

    async def silent() -> Fault | None:
        async with serving(waits=True) as port:
            return await diagnose(Address(f"https://127.0.0.1:{port}", "BACKEND_URL"))

    async def tls() -> Finding:
        async with serving(pem=pem) as port:
            return await look(f"http://127.0.0.1:{port}")

    for found in (alone(plain()), asyncio.run(silent())):
        assert found
        assert "does not speak TLS, and https:// does" in found.detail
        assert found.remedy == "set BACKEND_URL to the port with TLS, or to http:// where that is safe"
    found = alone(tls())
    assert "speaks TLS, and http:// does not" in found.detail
    assert found.remedy == "set BACKEND_URL to https://, or to the port without TLS"


def test_a_redirect_is_named_without_its_path() -> None:
    async def case() -> Finding:
        more = "Location: https://user:pass@login.example/sso?token=abcdefgh\r\n"
        async with serving(status="302 Found", more=more) as port:
            return await look(f"http://127.0.0.1:{port}")

    found = alone(case())
    assert found.detail == "it redirects (302) to https://login.example, and no signed call follows a redirect"
    assert found.remedy == "set BACKEND_URL to the address that answers itself"


def test_rows_that_cannot_be_read_have_their_own_remedy() -> None:
    async def case(rows: object) -> Finding:
        async with serving(json.dumps({**PAGE, "rows": rows}).encode()) as port:
            return await look(f"http://127.0.0.1:{port}")

    found = alone(case([{"id": 5}]))
    assert "unreadable: " in found.detail
    assert found.remedy.startswith("correct these rows in the backend's list")
    odd = {"task_id": "t-1", "user_id": "u-1", "step": 0, "kind": "basic_clean", "created": 1.0e15}
    assert alone(case([odd])).remedy.startswith("correct these rows in the backend's list")


def test_what_is_no_list_and_what_refuses_our_signature_have_theirs() -> None:
    async def case(body: bytes, status: str = "200 OK") -> Finding:
        async with serving(body, status=status) as port:
            return await look(f"http://127.0.0.1:{port}")

    assert "docs/backend.md" in alone(case(b"<html>a login page</html>")).remedy
    refused = alone(case(b"", "401 Unauthorized"))
    assert "refuses our signature" in refused.detail
    assert refused.remedy.startswith("INTERNAL_CALLBACK_SECRET ")


def test_no_two_faults_have_one_remedy(pem: Path) -> None:
    async def cases() -> list[str]:
        async with (
            serving() as plain,
            serving(pem=pem) as tls,
            serving(status="301 M", more="Location: /x\r\n") as moved,
        ):
            urls = (
                f"http://127.0.0.1:{free_port()}",
                "http://backend.invalid",
                f"https://localhost:{tls}",
                f"https://127.0.0.1:{plain}",
                f"http://127.0.0.1:{tls}",
                f"http://127.0.0.1:{moved}",
            )
            return [fault.remedy for url in urls if (fault := await diagnose(Address(url, "X_URL")))]

    remedies = asyncio.run(cases())
    assert len(set(remedies)) == len(remedies) == 6
    assert all("X_URL" in remedy for remedy in remedies)


@pytest.mark.parametrize("url", ["", "sqlite:///:memory:", "http://", "http://[broken", "pulsar://h:0x1"])
async def test_what_is_no_address_is_not_diagnosed(url: str) -> None:
    assert await diagnose(Address(url, "X_URL")) is None


async def test_an_address_that_is_well_has_no_fault() -> None:
    async with serving() as port:
        assert await diagnose(Address(f"http://127.0.0.1:{port}", "X_URL")) is None


CLOSED: Mapping[str, str] = {
    "broker": "BROKER_URL",
    "data bucket": "COS_ENDPOINT",
    "backend": "BACKEND_URL",
    "webhook": "WEBHOOK_URL",
    "runninghub": "RUNNINGHUB_URL",
    "ark": "ARK_URL",
    "vod": "VOD_URL",
    "tokenhub": "TOKENHUB_URL",
}


def test_every_other_side_of_a_deployment_is_diagnosed(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with Sandbox(tmp_path, HANDLERS) as sandbox:
        environ = {**sandbox.environ, **dict.fromkeys(CLOSED.values(), f"http://{nowhere}")}
    environ["BROKER_URL"] = f"pulsar://{nowhere}"
    found = {finding.name: finding for finding in asyncio.run(examine(environ))}
    for name, variable in CLOSED.items():
        assert (found[name].ok, found[name].detail) == (False, f"nothing listens at {nowhere}")
        assert found[name].remedy == f"start what should listen there, or correct host and port in {variable}"
