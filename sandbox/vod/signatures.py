"""Verification of TC3 signatures, as Tencent Cloud's interface does it (docs/reference/vod.md). Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce
from typing import Final

from sandbox.vod.model import Account, Refusal

__all__ = ["account_of"]

_FORM: Final = re.compile(
    r"TC3-HMAC-SHA256 Credential=([^/\s]+)/(\d{4}-\d\d-\d\d)/(\w+)/tc3_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_MOST_SKEW_S: Final = 300.0
_NEEDED: Final = frozenset({"content-type", "host"})


def account_of(headers: Mapping[str, str], body: bytes, accounts: Mapping[str, Account], now: float) -> str:
    """Return the SecretId that signed a POST to `/`.

    Args:
        headers: of the request, names in lower case.
        body: as it came.
        accounts: SecretId -> account.
        now: seconds since the epoch.

    Raises:
        Refusal: it is not signed, or not as the interface wants it.
    """
    found = _FORM.fullmatch(headers.get("authorization", ""))
    if found is None:
        raise Refusal("AuthFailure.InvalidAuthorization", "The Authorization header is not valid.")
    secret_id, date, service, signed, signature = found.groups()
    stamp = headers.get("x-tc-timestamp", "")
    if not stamp.isdigit() or abs(int(stamp) - now) > _MOST_SKEW_S:
        raise Refusal("AuthFailure.SignatureExpire", "The signature has expired.")
    account = accounts.get(secret_id)
    if account is None:
        raise Refusal("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
    if headers.get("x-tc-token", "") != account.token:
        raise Refusal("AuthFailure.TokenFailure", "The token is not valid.")
    names = signed.split(";")
    if service != "vod" or date != f"{datetime.fromtimestamp(int(stamp), UTC):%Y-%m-%d}" or not set(names) >= _NEEDED:
        raise Refusal("AuthFailure.SignatureFailure", "The credential scope is not valid.")
    lines = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names)
    canonical = "\n".join(["POST", "/", "", lines, signed, hashlib.sha256(body).hexdigest()])
    said = "\n".join(
        [
            "TC3-HMAC-SHA256",
            stamp,
            f"{date}/{service}/tc3_request",
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = reduce(_mac, (date, service, "tc3_request"), f"TC3{account.secret_key}".encode())
    if not hmac.compare_digest(_mac(key, said).hex(), signature):
        raise Refusal("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")
    return secret_id


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
