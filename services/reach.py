"""Diagnosis of an address that a check could not use: name, connection, TLS, redirect; each with its own remedy.

It is asked only after a check has failed, so it sends nothing that the check has not sent, and no secret: a connection,
a TLS handshake, and for HTTP one GET without a signature.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator
from typing import Final
from urllib.parse import urlsplit

import msgspec

from messages.reasons import reason_of
from services.tls import Certificates

__all__ = ["Address", "Fault", "diagnose"]

_LIMIT_S: Final = 10.0
_HANDSHAKE_S: Final = 4.0
_PORTS: Final = {"http": 80, "https": 443, "pulsar": 6650, "pulsar+ssl": 6651}
_TLS: Final = frozenset({"https", "pulsar+ssl"})
_TLS_TWIN: Final = {"http": "https", "pulsar": "pulsar+ssl"}
_PLAIN_TWIN: Final = {twin: scheme for scheme, twin in _TLS_TWIN.items()}
_REDIRECTS: Final = range(300, 400)


class Address(msgspec.Struct, frozen=True):
    """The other side of a check."""

    url: str
    """Its host; of several hosts the first is tried."""
    variable: str
    """The variables that say so, for remedies."""
    ca: str = ""
    """PEM file of the authorities that its certificate is verified with; empty for the usual ones."""
    follows: bool = False
    """True if its client follows redirects by itself."""


class Fault(msgspec.Struct, frozen=True):
    """Fault of an address."""

    detail: str
    remedy: str


class _Wrong(Exception):
    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.fault = Fault(detail, remedy)


async def diagnose(address: Address) -> Fault | None:
    """Return the reason why this machine cannot use an address; None if it can be connected to and does not redirect.

    Args:
        address: the address.
    """
    scheme, host, port = _parts(address.url)
    if not host or scheme not in _PORTS:
        return None
    try:
        async with asyncio.timeout(_LIMIT_S):
            await _resolve(host, port, address)
            await _connect(host, port, address)
            if scheme in _TLS:
                await _shake_hands(scheme, host, port, address)
            else:
                await _stay_plain(scheme, host, port, address)
            if scheme in {"http", "https"} and not address.follows:
                await _get(address)
    except _Wrong as wrong:
        return wrong.fault
    except TimeoutError:
        return Fault(
            f"{host}:{port} does not answer within {_LIMIT_S:g} s",
            f"let this machine reach it (VPC, security group, firewall), or correct {address.variable}",
        )
    return None


def _parts(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL, or of the first host of several."""
    try:
        first = urlsplit(url.partition(",")[0])
        return first.scheme, first.hostname or "", first.port or _PORTS.get(first.scheme, 0)
    except ValueError:
        return "", "", 0


async def _resolve(host: str, port: int, address: Address) -> None:
    try:
        await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        said = error.strerror if isinstance(error, socket.gaierror) else "no host name"
        raise _Wrong(
            f"there is no such name: {host} ({said})",
            f"correct the host in {address.variable}, or the name resolution of this machine",
        ) from None


async def _connect(host: str, port: int, address: Address) -> None:
    try:
        async with _connection(host, port):
            pass
    except ConnectionRefusedError:
        raise _Wrong(
            f"nothing listens at {host}:{port}",
            f"start what should listen there, or correct host and port in {address.variable}",
        ) from None
    except OSError as error:
        raise _Wrong(
            f"{host}:{port} cannot be reached: {error.strerror or reason_of(error)}",
            f"let this machine reach it (VPC, security group, firewall), or correct {address.variable}",
        ) from None


async def _shake_hands(scheme: str, host: str, port: int, address: Address) -> None:
    context = ssl.create_default_context(cafile=address.ca) if address.ca else await Certificates().context()
    try:
        async with _connection(host, port, context):
            pass
    except ssl.SSLCertVerificationError as error:
        where = (
            "BROKER_TLS_CA must hold its authority"
            if scheme.startswith("pulsar")
            else "let it be of a public authority"
        )
        raise _Wrong(
            f"the certificate of {host}:{port} is not trusted: {error.verify_message}",
            f"{where}, and for the host in {address.variable}",
        ) from None
    except OSError as error:
        reason = (error.reason if isinstance(error, ssl.SSLError) else None) or reason_of(error)
        raise _Wrong(
            f"{host}:{port} does not speak TLS, and {scheme}:// does ({reason})",
            f"set {address.variable} to the port with TLS, or to {_PLAIN_TWIN[scheme]}:// where that is safe",
        ) from None


async def _stay_plain(scheme: str, host: str, port: int, address: Address) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with _connection(host, port, context):
            pass
    except OSError:
        return
    raise _Wrong(
        f"{host}:{port} speaks TLS, and {scheme}:// does not",
        f"set {address.variable} to {_TLS_TWIN[scheme]}://, or to the port without TLS",
    )


async def _get(address: Address) -> None:
    import httpx

    context = await Certificates().context()
    try:
        async with (
            httpx.AsyncClient(verify=context, trust_env=False, timeout=_LIMIT_S, follow_redirects=False) as client,
            client.stream("GET", address.url) as answer,
        ):
            status, target = answer.status_code, urlsplit(answer.headers.get("location", ""))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return
    if status in _REDIRECTS:
        # Its path and query may repeat the request.
        where = f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if target.netloc else "another path"
        raise _Wrong(
            f"it redirects ({status}) to {where}, and no signed call follows a redirect",
            f"set {address.variable} to the address that answers itself",
        )


@contextlib.asynccontextmanager
async def _connection(host: str, port: int, context: ssl.SSLContext | None = None) -> AsyncGenerator[None]:
    # A server that waits for a plain request does not answer a handshake: the limit ends as a `ConnectionAbortedError`.
    _, writer = await asyncio.open_connection(
        host,
        port,
        ssl=context,
        server_hostname=host if context else None,
        ssl_handshake_timeout=_HANDSHAKE_S if context else None,
    )
    try:
        yield
    finally:
        writer.transport.abort()  # `close` would wait for the peer's TLS shutdown
