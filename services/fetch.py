"""Guarded download: the only way in which a URL that somebody else wrote is ever opened.

A URL is fetched only over https, only from allowed hosts, and only if every address of its host is public. The
connection goes to an address that was checked, so a name that changes its address between check and connection
(rebinding) changes nothing; each redirect is checked like a first URL. Errors name the host, never the URL: a result's
URL is presigned.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias, cast
from urllib.parse import urljoin, urlsplit

from messages.codes import Code
from services.errors import FetchFailed, FetchRefused
from services.objects.port import Source
from services.retry_after import wait_of
from services.tls import Certificates

if TYPE_CHECKING:
    import httpx

__all__ = ["Fetched", "Fetcher", "Resolve", "is_public", "source_of", "type_of"]

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> its addresses as text. Raises OSError where the host has none."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX: Final = 3
_ADDRESSES_MAX: Final = 4
_HTTPS_PORT: Final = 443
_URL_MAX: Final = 8192
_CONNECTIONS: Final = 16
_HEAD: Final = 32
"""Bytes that tell every type known here."""

_URL_SAFE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_NO_TYPE: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""What stores say of a file that they were told nothing about."""

_GONE: Final = frozenset({403, 404, 410})
"""An expired or moved result: the vendor, asked again, tells a new URL."""

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_SPECIAL: Final = tuple(
    map(
        ipaddress.ip_network,
        # RFC 6890 and its registries, where `is_global` of Python 3.11 is too kind: IETF assignments, 6to4 relays;
        # Teredo and its neighbours, documentation, 6to4. The last three of v6 can carry a private v4 address inside.
        ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)

_MAGIC: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL), "image/bmp"),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff"),
    (re.compile(rb"\0\0\0.ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"\0\0\0.ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL), "image/heic"),
    (re.compile(rb"\0\0\0.ftypqt  ", re.DOTALL), "video/quicktime"),
    (re.compile(rb"\0\0\0.ftyp(?:iso|mp4|avc1|M4V|dash|MSNV|3gp)", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1aE\xdf\xa3"), "video/webm"),
)


def is_public(address: str) -> bool:
    """Whether an address, as text, is one of the public internet: not private, local, mapped, shared or reserved."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address):
        inside = known in _GLOBAL_UNICAST and known.scope_id is None
    else:
        inside = known.is_global and not known.is_multicast and not known.is_reserved
    return inside and not any(known in network for network in _SPECIAL)


def type_of(head: bytes) -> str:
    """The media type of a picture or video by its first bytes; empty for anything else."""
    return next((name for magic, name in _MAGIC if magic.match(head)), "")


_PIECE: Final = 512 << 10
"""Bytes of a piece, at least; the last one may be shorter."""


class Fetched:
    """An opened download: read once, inside the `async with` that opened it."""

    def __init__(self, body: _Body, head: bytes, content_type: str) -> None:
        self._body = body
        self._head = head
        self.size: Final = body.size
        """Bytes in all; -1 where the server does not tell."""
        self.content_type: Final = content_type
        """By its first bytes, whatever the server called it."""

    def __aiter__(self) -> Self:
        """The pieces."""
        return self

    async def __anext__(self) -> bytes:
        """The next piece.

        Raises:
            services.errors.FetchFailed: the download broke off.
            services.errors.FetchRefused: it is longer than allowed.
        """
        # Each piece crosses to a thread that sends it on: the network's own, of some 16 KiB, would halve the speed.
        parts, size = [self._head], len(self._head)
        self._head = b""
        while size < _PIECE and (part := await self._body.read()):
            parts.append(part)
            size += len(part)
        if not size:
            raise StopAsyncIteration
        return b"".join(parts)


def source_of(fetched: Fetched) -> Source:
    """The download as the body of a put or an upload.

    Raises:
        services.errors.FetchRefused: its size is not known.
    """
    if fetched.size < 0:
        raise FetchRefused("a download without a Content-Length cannot be stored")
    return fetched


class _Target(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str
    private: bool
    """May be fetched from a private address, and without TLS."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = _HTTPS_PORT if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


class Fetcher:
    """Opens URLs of others.

    Args:
        allowed_hosts: exact names, or `*.suffix` for any name below it.
        allow_private: `host:port` pairs that are allowed too, may have private addresses, and may speak plain http: a
            sandbox; or, with port 443, a COS host that resolves to a private address inside Tencent Cloud.
        max_bytes: longest download, unless `open` says otherwise.
        timeout: seconds for the name, for connecting, and for each wait for bytes.
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
        resolve: Resolve | None = None,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        # httpx loads httpcore at its first request; inside the loop either would hold up everybody.
        import_module("httpx")
        import_module("httpcore")

        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._private = frozenset(pair.lower() for pair in allow_private)
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(4, "fetch-resolve")
        self._resolve = resolve or self._ask_system
        self._make = transport
        self._certificates = Certificates()
        self._transport: httpx.AsyncBaseTransport | None = None

    @asynccontextmanager
    async def open(
        self, url: str, *, max_bytes: int | None = None, types: Sequence[str] = ("image/", "video/")
    ) -> AsyncGenerator[Fetched, None]:
        """Open a download.

        Args:
            url: the whole URL.
            max_bytes: longest download in bytes, the fetcher's own where None.
            types: beginnings of the media types allowed, of those that `type_of` knows.

        Raises:
            services.errors.FetchRefused: it must not be fetched: scheme, host, address, redirect, size or type.
            services.errors.FetchFailed: it cannot be fetched now: no answer, 5xx, or gone (403, 404, 410).
        """
        limit = self._max_bytes if max_bytes is None else max_bytes
        response, host = await self._follow(url)
        # httpx calls it an iterator; it is a generator, and a reader may stop in the middle.
        raw = cast("AsyncGenerator[bytes, None]", response.aiter_raw())
        async with aclosing(response), aclosing(raw) as pieces:
            yield await _begin(response, pieces, host, limit=limit, types=tuple(types))

    async def close(self) -> None:
        """Drop connections and threads."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self, url: str) -> tuple[httpx.Response, str]:
        """The first answer that is no redirect, and the host that gave it."""
        for _ in range(_REDIRECTS_MAX + 1):
            target = self._check(url)
            response = await self._get(target)
            if response.status_code not in _REDIRECTS:
                return response, target.host
            await response.aclose()
            url = _joined(url, response.headers.get("Location", ""))
        raise FetchRefused("redirected too often")

    def _check(self, url: str) -> _Target:
        """The parts of a URL that may be fetched.

        Raises:
            services.errors.FetchRefused: scheme, credentials, host, port, or characters that parsers disagree about.
        """
        if len(url) > _URL_MAX or not _URL_SAFE.fullmatch(url) or "\\" in url:
            raise FetchRefused("no URL that can be fetched")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise FetchRefused("no URL that can be fetched") from None
        if "@" in parts.netloc or parts.scheme not in {"https", "http"} or not _HOST.fullmatch(host):
            raise FetchRefused("not an https URL, or one with credentials")
        if port is None:
            port = _HTTPS_PORT if parts.scheme == "https" else 80
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        private = f"{host}:{port}" in self._private
        if not private:
            if parts.scheme != "https" or port != _HTTPS_PORT:
                raise FetchRefused(f"not https on port {_HTTPS_PORT}: {host}")
            if not self._allows(host):
                raise FetchRefused(f"not an allowed host: {host}")
        return _Target(parts.scheme, host, port, path, private)

    def _allows(self, host: str) -> bool:
        labels = host.split(".")
        above = (f"*.{'.'.join(labels[cut:])}" for cut in range(1, len(labels)))
        return host in self._allowed or any(pattern in self._allowed for pattern in above)

    async def _get(self, target: _Target) -> httpx.Response:
        import httpx

        transport = await self._opened()
        failure: Exception | None = None
        for address in await self._addresses(target):
            request = httpx.Request(
                "GET",
                httpx.URL(scheme=target.scheme, host=address, port=target.port, raw_path=target.path.encode("ascii")),
                headers={"Host": target.authority, "Accept": "*/*", "Accept-Encoding": "identity"},
                extensions={
                    "timeout": httpx.Timeout(self._timeout, pool=None).as_dict(),
                    # The certificate has to be the name's, though the connection goes to the address.
                    "sni_hostname": target.host,
                },
            )
            try:
                # The transport itself: a client would log the whole URL.
                return await transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
            except httpx.HTTPError as error:
                # Its text may quote what the server sent, and that the URL.
                raise FetchFailed(f"{target.host}: {type(error).__name__}") from None
        raise FetchFailed(f"{target.host}: could not connect") from failure

    async def _addresses(self, target: _Target) -> Sequence[str]:
        """The host's addresses, v4 first: functions often have no way out for v6.

        Raises:
            services.errors.FetchFailed: it has none.
            services.errors.FetchRefused: one of them is not public.
        """
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError) as error:
            raise FetchFailed(f"{target.host}: its name does not resolve") from error
        if not target.private and not all(is_public(address) for address in found):
            raise FetchRefused(f"{target.host}: has an address that is not public")
        return sorted(dict.fromkeys(found), key=lambda address: ":" in address)[:_ADDRESSES_MAX]

    async def _ask_system(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _getaddrinfo, host, port)

    async def _opened(self) -> httpx.AsyncBaseTransport:
        make = self._make or partial(_network, await self._certificates.context())
        if self._transport is None:
            self._transport = make()
        return self._transport


def _joined(url: str, location: str) -> str:
    """Where a redirect leads, unchecked."""
    if not _URL_SAFE.fullmatch(location):
        raise FetchRefused("redirected to nowhere")
    try:
        return urljoin(url, location)
    except ValueError:
        raise FetchRefused("redirected to nowhere") from None


def _getaddrinfo(host: str, port: int) -> list[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _network(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    import httpx

    # No connection is kept: one kept open for a name of this address would be reused for another name of the same
    # address, whose certificate nobody checked; and after a freeze a kept one is dead.
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits, retries=0)


async def _begin(
    response: httpx.Response, pieces: AsyncIterator[bytes], host: str, *, limit: int, types: tuple[str, ...]
) -> Fetched:
    """Check status, size and type of an answer, reading no more than its first bytes."""
    _check_status(response, host)
    size = _size(response, host)
    if size > limit:
        raise FetchRefused(f"{host}: {size} bytes are more than {limit}", code=Code.PICTURE_TOO_LARGE)
    told = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if told not in _NO_TYPE and not told.startswith(types):
        raise FetchRefused(f"{host}: answered with another type", code=Code.BAD_PICTURE)
    body = _Body(pieces, host, size=size, limit=limit)
    head = b""
    while len(head) < _HEAD and (piece := await body.read()):
        head += piece
    if not head:
        raise FetchFailed(f"{host}: an empty answer")
    content_type = type_of(head)
    if not content_type.startswith(types):
        raise FetchRefused(f"{host}: the content is of another type", code=Code.BAD_PICTURE)
    return Fetched(body, head, content_type)


def _check_status(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if status == 200:  # noqa: PLR2004 - OK
        return
    text = f"{host}: HTTP {status}"
    if 400 <= status < 500 and status not in _GONE | {408, 425, 429}:  # noqa: PLR2004 - the client's errors
        raise FetchRefused(text)
    raise FetchFailed(text, retry_after=wait_of(response.headers))


def _size(response: httpx.Response, host: str) -> int:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchRefused(f"{host}: answered with an encoding nobody asked for")
    told = response.headers.get("Content-Length", "")
    return int(told) if told.isascii() and told.isdigit() else -1


class _Body:
    """The bytes of an answer, counted."""

    def __init__(self, pieces: AsyncIterator[bytes], host: str, *, size: int, limit: int) -> None:
        self._pieces = pieces
        self._host = host
        self._limit = limit
        self._count = 0
        self.size: Final = size

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        import httpx

        try:
            piece = await anext(self._pieces, b"")
        except httpx.HTTPError as error:
            raise FetchFailed(f"{self._host}: broke off after {self._count} bytes ({type(error).__name__})") from None
        self._count += len(piece)
        if self._count > self._limit:
            raise FetchRefused(f"{self._host}: more than {self._limit} bytes", code=Code.PICTURE_TOO_LARGE)
        if not piece and self.size not in {-1, self._count}:
            raise FetchFailed(f"{self._host}: {self._count} bytes of {self.size}")
        return piece
