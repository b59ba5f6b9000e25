"""HTTP connections of a vendor's client: the key in the header, certificates, and answers up to a bound.

No library repeats a request, no proxy of the environment is used, and no answer is unpacked.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterable, Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from messages.errors import Permanent
from messages.reasons import reason_of
from services.errors import CreateUnknown, VendorDown, VendorFull
from services.http_body import IDENTITY, read_body
from services.retry_after import wait_of
from services.tls import Certificates
from telemetry.secrets import Secret

if TYPE_CHECKING:
    import httpx

__all__ = ["ApiResponse", "VendorHttp"]

_ANSWER_LIMIT: Final = 2 * 1024 * 1024
_CONNECTIONS: Final = 6
"""httpx's pool slows as it fills, for httpcore looks at every connection at every request: 4 to 8 a vendor."""
_JSON: Final[Mapping[str, str]] = {"Content-Type": "application/json"}
_HEADER_SAFE: Final = re.compile(r"[!-~]+")


class ApiResponse(msgspec.Struct, frozen=True):
    """An answer as it came."""

    status: int
    body: bytes
    """Empty if the answer was compressed or longer than any genuine one."""
    retry_after: float | None = None
    """Seconds the vendor asked us to wait."""


class VendorHttp:
    """Connections to a vendor with one key of ours.

    Args:
        base_url: paths are appended to it.
        api_key: sent as a bearer token; None where each request is signed by headers of its own.
        timeout: seconds for one call over the pool.
        transport: makes the transport of a new client; by default one over the network, without proxy or retry.

    Raises:
        messages.errors.Permanent: no header can carry the key, or the base URL is malformed.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: Secret | None,
        timeout: float,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        # httpx loads httpcore at its first request; inside the loop either import would block every task.
        import_module("httpx")
        import_module("httpcore")

        if api_key is not None and not _HEADER_SAFE.fullmatch(api_key.reveal()):
            # h11 would quote the whole header, key and all, in its error.
            raise Permanent("the vendor's key is empty or holds what no header can carry")
        self.base: Final = _base_url(base_url)
        self._key = api_key
        self._timeout = timeout
        self._transport = transport
        self._certificates = Certificates()
        self._pool: httpx.AsyncClient | None = None

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - of the one request
        headers: Mapping[str, str] | None = None,
    ) -> ApiResponse:
        """Make a call that may be repeated, over a pooled connection.

        Args:
            method: of the request.
            path: appended to the base URL.
            content: JSON; empty for none.
            timeout: seconds; None for those of the client.
            headers: of this request, its content type among them; None for those of JSON.

        Raises:
            services.errors.VendorDown: no answer came within the time.
        """
        import httpx

        client, limit = await self.pooled(), timeout or self._timeout
        headers = headers or (_JSON if content else {})
        # The whole time limit may pass before the first byte of an answer.
        own = httpx.Timeout(limit, connect=limit / 3)
        url = f"{self.base}{path}"
        try:
            async with (
                asyncio.timeout(limit),
                client.stream(method, url, content=content, headers=headers, timeout=own) as response,
            ):
                return await _read(response)
        except (httpx.HTTPError, TimeoutError) as error:
            # Without the cause: its text may quote the server's answer, which may quote our key.
            raise VendorDown(f"{method} {url}: {reason_of(error)}") from None

    async def pay(
        self,
        path: str,
        content: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - of the one POST
        headers: Mapping[str, str] | None = None,
    ) -> ApiResponse:
        """Make a paid call: one POST of JSON on a connection of its own; no status raises.

        A connection that could not be made is proof of non-acceptance. From the first byte of the request on there is
        no proof but the answer.

        Raises:
            services.errors.VendorFull: nothing was sent.
            services.errors.CreateUnknown: sent, and no answer came.
        """
        import httpx

        client = self._client(await self._tls(), timeout)
        try:
            async with client, asyncio.timeout(timeout):
                return await self.send(client, "POST", path, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise VendorFull(f"create, nothing was sent: {reason_of(error)}") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise CreateUnknown(f"create, after sending: {reason_of(error)}") from None

    async def send(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        content: bytes | AsyncIterable[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> ApiResponse:
        """Send a request, of JSON unless its headers say otherwise, and read its answer up to a bound.

        No status raises.

        Raises:
            httpx.HTTPError: no answer, or a cut one. Its text may quote the key: raise nothing from it.
        """
        async with client.stream(method, self.base + path, content=content, headers=headers or _JSON) as response:
            return await _read(response)

    async def pooled(self) -> httpx.AsyncClient:
        """Return the client whose connections are kept."""
        context = await self._tls()
        if self._pool is None:
            self._pool = self._client(context, self._timeout)
        return self._pool

    async def close(self) -> None:
        """Drop connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def _tls(self) -> ssl.SSLContext:
        if self.base.startswith("https:") and self._transport is None:
            return await self._certificates.context()
        # Never used for a connection; a context without certificates trusts no server.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def _client(self, context: ssl.SSLContext, timeout: float) -> httpx.AsyncClient:
        import httpx

        bearer = {} if self._key is None else {"Authorization": f"Bearer {self._key.reveal()}"}
        return httpx.AsyncClient(
            headers={**bearer, **IDENTITY},
            verify=context,
            # Name, TCP and TLS end by themselves before `timeout` does: httpcore leaks a connection that is cancelled
            # while it is made, and a limit that ends here is known to have sent nothing.
            timeout=httpx.Timeout(timeout, connect=timeout / 3),
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            transport=self._transport() if self._transport else None,
            trust_env=False,
        )


async def _read(response: httpx.Response) -> ApiResponse:
    body = await read_body(response, _ANSWER_LIMIT)
    return ApiResponse(response.status_code, body, wait_of(response.headers))


def _base_url(text: str) -> str:
    parts = urlsplit(text.rstrip("/"))
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise Permanent("not the base URL of a vendor")
    return parts.geturl()
