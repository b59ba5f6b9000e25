"""Guarded download (SSRF protection) for all external URLs.

A URL is fetched only over https, only from allowed hosts, and only if every address of its host is public. The
connection goes to an address that was checked, so a name that changes its address between check and connection
(rebinding) changes nothing; each redirect is checked like a first URL. Errors name the host, never the URL: a result's
URL is presigned.

Each failure is one of three: an outage of the file's host (`FetchFailed`), an answer that is not the file but may
become it (`ResultUnusable`), or a failure that no later try can change (`FetchRefused`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final, Self, TypeAlias, cast
from urllib.parse import quote, urljoin

from messages.codes import Code
from messages.reasons import reason_of
from services.addresses import is_public, may_be_private
from services.errors import FetchFailed, FetchRefused, ResultUnusable
from services.http_body import IDENTITY, is_encoded, let_others_run
from services.media.types import HEAD, type_of
from services.retry_after import wait_of
from services.tls import Certificates
from services.urls import UNSAFE, URL_SAFE, HostRules, Target, check_url

if TYPE_CHECKING:
    import httpx

__all__ = ["Fetched", "Fetcher", "Resolve"]

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> its addresses as text. Raises OSError where the host has none."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX: Final = 3
_ADDRESSES_MAX: Final = 4
_CONNECTIONS: Final = 16
_LATER: Final = frozenset({408, 425, 429})
"""The 4xx that speak of the host's load, not of the file."""

_LONGEST_WAIT_S: Final = 120.0
"""Seconds that a file's host may ask for: with an hour it would outlive the deadline of a job that is paid."""

_PIECE: Final = 512 << 10
"""Bytes of a piece, at least; the last one may be shorter."""


class Fetched:
    """An opened download: read once, inside the `async with` that opened it."""

    def __init__(self, body: _Body, head: bytes, content_type: str) -> None:
        self._body = body
        self._head = head
        self.size: Final = body.size
        """Bytes in all; -1 where the server does not say."""
        self.framed: Final = body.framed
        """True if a truncated body is noticed: by a length, or by a last chunk."""
        self.content_type: Final = content_type
        """Type by its first bytes, not by the server's header."""

    def __aiter__(self) -> Self:
        """Iterate over the pieces."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece.

        Raises:
            services.errors.FetchFailed: the download broke off.
            services.errors.FetchRefused: it is longer than allowed.
        """
        # Each piece is passed to a thread that sends it: pieces as they come from the network, of some 16 KiB, would
        # halve the speed.
        parts, size = [self._head], len(self._head)
        self._head = b""
        while size < _PIECE and (part := await self._body.read()):
            parts.append(part)
            size += len(part)
        if not size:
            raise StopAsyncIteration
        return b"".join(parts)


class Fetcher:
    """Opens URLs of others.

    Args:
        allowed_hosts: exact names, or `*.suffix` for any name below it.
        allow_private: `host:port` pairs that are allowed too, may have private addresses, and (save with port 443) may
            speak plain http: a sandbox; or, with port 443, a COS host that resolves to a private address inside
            Tencent Cloud. Only for URLs that begin there: no other host may redirect to one.
        max_bytes: longest download, unless `open` says otherwise.
        timeout: seconds for the name, for connecting, and for each wait for bytes.
        total: seconds for a whole download, unless `open` says otherwise.
        resolve: asked for addresses; by default the system, in threads of our own.
        transport: makes what carries requests; by default the network, without proxy, retry or kept connection.
    """

    def __init__(
        self,
        *,
        allowed_hosts: frozenset[str],
        allow_private: frozenset[str] = frozenset(),
        max_bytes: int,
        timeout: float,
        total: float = 120.0,
        resolve: Resolve | None = None,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        # httpx loads httpcore at its first request; inside the loop either import would block every task.
        import_module("httpx")
        import_module("httpcore")

        self._rules = HostRules(
            frozenset(host.lower() for host in allowed_hosts), frozenset(pair.lower() for pair in allow_private)
        )
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._total = total
        self._threads = ThreadPoolExecutor(4, "fetch-resolve")
        self._resolve = resolve or self._ask_system
        self._make = transport
        self._certificates = Certificates()
        self._transport: httpx.AsyncBaseTransport | None = None

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        max_bytes: int | None = None,
        types: Sequence[str] = ("image/", "video/"),
        total: float | None = None,
        rules: HostRules | None = None,
    ) -> AsyncGenerator[Fetched, None]:
        """Open a download.

        Args:
            url: the whole URL; what must be percent-encoded in it and is not, gets so.
            max_bytes: longest download in bytes, the fetcher's own where None.
            types: beginnings of the media types allowed, of those that `type_of` knows. The bytes decide, whatever the
                server calls them.
            total: seconds for the whole download, the fetcher's own where None.
            rules: hosts that this URL may lead to, the fetcher's own where None.

        Raises:
            services.errors.FetchRefused: it must not be fetched: scheme, host or size.
            services.errors.FetchFailed: it cannot be fetched now: no name, no answer, 5xx, or cut.
            services.errors.ResultUnusable: the answer is not the file: another media, nothing, a 4xx.
        """
        limit = self._max_bytes if max_bytes is None else max_bytes
        until = asyncio.get_running_loop().time() + (self._total if total is None else total)
        response, host = await self._follow(url, until, rules or self._rules)
        # httpx calls it an iterator; it is a generator, and a reader may stop in the middle.
        raw = cast("AsyncGenerator[bytes, None]", response.aiter_raw())
        async with aclosing(response), aclosing(raw) as pieces:
            yield await _begin(response, pieces, host, until, limit=limit, types=tuple(types))

    async def close(self) -> None:
        """Drop connections and threads."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self, url: str, until: float, rules: HostRules) -> tuple[httpx.Response, str]:
        """Return the first answer that is not a redirect, and its host."""
        target = check_url(url, rules)
        for _ in range(_REDIRECTS_MAX + 1):
            try:
                async with asyncio.timeout_at(until):
                    response = await self._get(target)
            except TimeoutError:
                raise FetchFailed(f"{target.host}: took too long to answer") from None
            if response.status_code not in _REDIRECTS:
                return response, target.host
            await response.aclose()
            url = _joined(url, response)
            target = _redirected(url, target, rules)
        raise ResultUnusable("redirected too often")

    async def _get(self, target: Target) -> httpx.Response:
        import httpx

        transport = await self._opened()
        failure: Exception | None = None
        for address in await self._addresses(target):
            request = httpx.Request(
                "GET",
                httpx.URL(scheme=target.scheme, host=address, port=target.port, raw_path=target.path.encode("ascii")),
                headers={"Host": target.authority, "Accept": "*/*", **IDENTITY},
                extensions={
                    "timeout": httpx.Timeout(self._timeout, pool=None).as_dict(),
                    # The certificate must be for the name, although the connection goes to the address.
                    "sni_hostname": target.host,
                },
            )
            try:
                # The transport itself: a client would log the whole URL.
                return await transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
            except httpx.HTTPError as error:
                # Its text may quote the server's answer, which may quote the URL.
                raise FetchFailed(f"{target.host}: {reason_of(error)}") from None
        raise FetchFailed(f"{target.host}: {reason_of(failure) if failure else 'no address'}") from failure

    async def _addresses(self, target: Target) -> Sequence[str]:
        """Return the host's addresses, v4 first: functions often have no route for v6.

        Raises:
            services.errors.FetchFailed: the name does not resolve.
            services.errors.ResultUnusable: an address is not public; the name may change its addresses.
        """
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError) as error:
            raise FetchFailed(f"{target.host}: its name does not resolve") from error
        if not all(is_public(address) or _may(address, target) for address in found):
            raise ResultUnusable(f"{target.host}: has an address that is not public")
        return sorted(dict.fromkeys(found), key=lambda address: ":" in address)[:_ADDRESSES_MAX]

    async def _ask_system(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _getaddrinfo, host, port)

    async def _opened(self) -> httpx.AsyncBaseTransport:
        make = self._make or partial(_network, await self._certificates.context())
        if self._transport is None:
            self._transport = make()
        return self._transport


def _redirected(url: str, source: Target, rules: HostRules) -> Target:
    """Return the next target: checked like a first one, but a later answer may redirect elsewhere.

    Raises:
        services.errors.ResultUnusable: the redirect must not be followed.
    """
    try:
        target = check_url(url, rules)
    except FetchRefused as refused:
        raise ResultUnusable(f"{source.host}: redirects elsewhere: {refused}") from None
    if target.private and not source.private:
        raise ResultUnusable(f"{source.host}: redirects to a private host")
    return target


def _may(address: str, target: Target) -> bool:
    return target.private and may_be_private(address)


def _joined(url: str, response: httpx.Response) -> str:
    """Return the target of a redirect, percent-encoded and unchecked.

    Raises:
        services.errors.ResultUnusable: it has no usable target.
    """
    # As it came: httpx would guess at how bytes beyond ASCII are meant, and a path is bytes.
    location_header = next((value for name, value in response.headers.raw if name.lower() == b"location"), b"").strip(
        b" "
    )
    location = quote(location_header, safe=URL_SAFE)
    if not location or UNSAFE.search(location_header.decode("latin-1")):
        raise ResultUnusable("redirected to nowhere")
    try:
        return urljoin(url, location)
    except ValueError:
        raise ResultUnusable("redirected to nowhere") from None


def _getaddrinfo(host: str, port: int) -> list[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _network(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    import httpx

    # No connection is kept: one kept open for a name of this address would be reused for another name of the same
    # address, whose certificate was never checked; and after a freeze a kept one is dead.
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits, retries=0)


async def _begin(
    response: httpx.Response,
    pieces: AsyncIterator[bytes],
    host: str,
    until: float,
    *,
    limit: int,
    types: tuple[str, ...],
) -> Fetched:
    """Check status, size and type of an answer, reading no more than its first bytes."""
    _check_status(response, host)
    if is_encoded(response.headers):
        raise ResultUnusable(f"{host}: answered with an encoding that was not asked for")
    body = _Body(response, pieces, host, until, limit)
    if body.size > limit:
        raise FetchRefused(f"{host}: {body.size} bytes are more than {limit}", code=Code.PICTURE_TOO_LARGE)
    head = b""
    while len(head) < HEAD and (piece := await body.read()):
        head += piece
    if not head:
        raise ResultUnusable(f"{host}: an empty answer")
    content_type = type_of(head)
    if not content_type.startswith(types):
        raise ResultUnusable(f"{host}: the content is of another type")
    return Fetched(body, head, content_type)


def _check_status(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if status == 200:  # noqa: PLR2004 - OK
        return
    text, asked = f"{host}: HTTP {status}", wait_of(response.headers)
    wait = None if asked is None else min(asked, _LONGEST_WAIT_S)
    if status >= 500 or status in _LATER:  # noqa: PLR2004 - the server's errors
        raise FetchFailed(text, retry_after=wait)
    raise ResultUnusable(text, retry_after=wait)


class _Body:
    """The bytes of an answer, counted."""

    def __init__(
        self, response: httpx.Response, pieces: AsyncIterator[bytes], host: str, until: float, limit: int
    ) -> None:
        chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
        # Chunks override a length (RFC 9112, section 6.3).
        length = "" if chunked else response.headers.get("Content-Length", "")
        self._pieces = pieces
        self._host = host
        self._until = until
        self._limit = limit
        self._count = 0
        self.size: Final = int(length) if length.isascii() and length.isdigit() else -1
        self.framed: Final = self.size >= 0 or chunked

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        import httpx

        try:
            async with asyncio.timeout_at(self._until):
                piece = await anext(self._pieces, b"")
                await let_others_run(piece)
        except TimeoutError:
            raise FetchFailed(f"{self._host}: {self._count} bytes, and no time left for the rest") from None
        except httpx.HTTPError as error:
            raise FetchFailed(f"{self._host}: broke off after {self._count} bytes ({reason_of(error)})") from None
        self._count += len(piece)
        if self._count > self._limit:
            raise FetchRefused(f"{self._host}: more than {self._limit} bytes", code=Code.PICTURE_TOO_LARGE)
        if not piece and self.size not in {-1, self._count}:
            raise FetchFailed(f"{self._host}: {self._count} bytes of {self.size}")
        return piece
