"""Resolution of a request's address to bucket and key.

Forms: `BUCKET.cos.REGION.myqcloud.com` (and `ci.`, and the `tencentcos.cn` names), also inside an absolute request line
as a client sends it to a proxy; `BUCKET.localhost`, `BUCKET.cos.localhost`; and `127.0.0.1:PORT/BUCKET/key`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from sandbox.cos.errors import Refused

__all__ = ["CONTROL_PREFIX", "MAX_KEY_BYTES", "Address", "Resolver", "split_absolute"]

CONTROL_PREFIX = "/_sandbox/"
"""Paths of control endpoints on the loopback host."""
MAX_KEY_BYTES = 850
"""Longest key in bytes of UTF-8 (Tencent COS, "Object overview")."""

_LOOPBACK = frozenset(("127.0.0.1", "localhost"))


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a request, and the spellings that its signer may have used."""

    bucket: str
    key: str
    """Key without the leading slash; empty for the bucket itself."""
    paths: tuple[str, ...]
    hosts: tuple[str, ...]


class Resolver:
    """Resolves addresses of requests.

    Args:
        buckets: full names, with the APPID.
        region: such as `ap-guangzhou`.
    """

    def __init__(self, buckets: Collection[str], region: str) -> None:
        self._buckets = frozenset(buckets)
        self._host = re.compile(
            rf"([a-z0-9-]+)\.(?:(?:cos|ci|cos-internal)\.{re.escape(region)}\.(?:myqcloud\.com|tencentcos\.cn)"
            r"|(?:(?:cos|ci)\.)?localhost)"
        )

    def is_control(self, host: str, raw_path: str) -> bool:
        """Return True for a request to a control endpoint: only on the loopback host, never on a bucket's."""
        return _without_port(host) in _LOOPBACK and raw_path.startswith(CONTROL_PREFIX)

    def resolve(self, host: str, raw_path: str) -> Address:
        """Resolve the address of a request.

        Args:
            host: as in the Host header.
            raw_path: percent-encoded, with the leading slash, without the query.

        Raises:
            Refused: no such bucket, or a path that is no key.
        """
        name = _without_port(host)
        path = _decode(raw_path)
        hosts = (host, name) if host != name else (host,)
        match = self._host.fullmatch(name)
        if match:
            return self._address(match[1], path[1:], (path,), hosts)
        if name not in _LOOPBACK:
            raise Refused(404, "NoSuchBucket", "The host names no bucket of this region.")
        bucket, _, key = path[1:].partition("/")
        return self._address(bucket, key, ("/" + key, path), hosts)

    def _address(self, bucket: str, key: str, paths: tuple[str, ...], hosts: tuple[str, ...]) -> Address:
        if bucket not in self._buckets:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
        if len(key.encode()) > MAX_KEY_BYTES:
            raise Refused(400, "KeyTooLong", f"A key has at most {MAX_KEY_BYTES} bytes.")
        return Address(bucket, key, paths, hosts)


def split_absolute(target: str) -> tuple[str, str] | None:
    """Return host and path of an absolute request target; None for another target."""
    match = re.fullmatch(r"https?://([^/]*)(/.*)?", target, re.IGNORECASE | re.DOTALL)
    return (match[1], match[2] or "/") if match else None


def _without_port(host: str) -> str:
    return re.sub(r":[0-9]+$", "", host).lower()


def _decode(raw_path: str) -> str:
    try:
        path = unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError as error:
        raise Refused(400, "InvalidURI", "The path is not UTF-8.") from error
    if not path.startswith("/"):
        raise Refused(400, "InvalidURI", "The path has no leading slash.")
    return path
