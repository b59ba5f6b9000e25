"""Signatures of Tencent Cloud's interface 3.0 (TC3-HMAC-SHA256). Pure.

Source: docs/reference/vod.md. A signature covers method, path, content type, host and body; the service accepts it for
five minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from typing import Final

from messages.errors import Permanent
from services.objects.credentials import Credentials

__all__ = ["signed_headers"]

_CONTENT_TYPE: Final = "application/json"
_ALGORITHM: Final = "TC3-HMAC-SHA256"
_SIGNED: Final = "content-type;host"
_HEADER_SAFE: Final = re.compile(r"[!-~]*")


def signed_headers(
    credentials: Credentials, *, host: str, service: str, action: str, version: str, body: bytes, now: float
) -> dict[str, str]:
    """Return the headers of a POST of JSON, its signature among them.

    Args:
        credentials: a key pair, or a role's with its token.
        host: as the request's `Host` has it, with a port that is not the usual one.
        service: short name of the product, such as `vod`.
        action: name of the call.
        version: of the product's interface, a date.
        body: of the request.
        now: seconds since the epoch.

    Raises:
        messages.errors.Permanent: no header can carry the credentials.
    """
    parts = (credentials.secret_id.reveal(), credentials.token.reveal())
    if not parts[0] or not all(map(_HEADER_SAFE.fullmatch, parts)):
        # h11 would quote the whole header in its error.
        raise Permanent("the credentials are empty or hold what no header can carry")
    stamp = str(int(now))
    date = _date(now)
    signature = _sign(credentials, service=service, stamp=stamp, digest=_digest(host, body))
    scope = f"Credential={parts[0]}/{date}/{service}/tc3_request"
    headers = {
        "Authorization": f"{_ALGORITHM} {scope}, SignedHeaders={_SIGNED}, Signature={signature}",
        "Content-Type": _CONTENT_TYPE,
        "Host": host,
        "X-TC-Action": action,
        "X-TC-Timestamp": stamp,
        "X-TC-Version": version,
    }
    return headers | ({"X-TC-Token": parts[1]} if parts[1] else {})


def _digest(host: str, body: bytes) -> str:
    hashed = hashlib.sha256(body).hexdigest()
    canonical = f"POST\n/\n\ncontent-type:{_CONTENT_TYPE}\nhost:{host}\n\n{_SIGNED}\n{hashed}"
    return hashlib.sha256(canonical.encode()).hexdigest()


def _sign(credentials: Credentials, *, service: str, stamp: str, digest: str) -> str:
    date = _date(int(stamp))
    said = f"{_ALGORITHM}\n{stamp}\n{date}/{service}/tc3_request\n{digest}"
    key = f"TC3{credentials.secret_key.reveal()}".encode()
    for part in (date, service, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


def _date(now: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(now))
