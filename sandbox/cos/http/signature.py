"""COS request signatures: computation and verification.

Source: Tencent COS, "Request signature" (document 436/7778). A signature is in the `Authorization` header or, in
presigned URLs, in query parameters. Where the service is or may be lenient, this stand-in is strict, so that a request
that passes here passes there: `host`, every `x-cos-*` header and every parameter sent must be signed.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from sandbox.cos.errors import Refused

__all__ = ["TOKEN_NAMES", "Evidence", "compute", "is_signature_field", "verify"]

TOKEN_NAMES = ("x-cos-security-token", "x-ci-security-token")
"""Headers (the first one also a parameter) that carry the token of temporary credentials."""

_FIELDS = (
    "q-sign-algorithm",
    "q-ak",
    "q-sign-time",
    "q-key-time",
    "q-header-list",
    "q-url-param-list",
    "q-signature",
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Parts of a request that a signature may cover."""

    method: str
    paths: tuple[str, ...]
    """Decoded paths with the leading slash, as a signer may have spelled it: in path style the SDK drops the bucket."""
    hosts: tuple[str, ...]
    """Spellings of the host. The SDK omits the port."""
    headers: Mapping[str, str]
    """Headers by lower-case name."""
    params: Sequence[tuple[str, str]]
    """Decoded query parameters in the order sent, including those of the signature."""


@dataclass(frozen=True, slots=True)
class _SentSignature:
    """Signature as sent."""

    secret_id: str
    sign_time: str
    key_time: str
    header_names: tuple[str, ...]
    param_names: tuple[str, ...]
    signature: str


def is_signature_field(name: str) -> bool:
    """Return True for a query parameter of a presigned URL's signature, which is not part of the request."""
    return name in _FIELDS or name == TOKEN_NAMES[0]


def compute(
    secret_key: str,
    sign_time: str,
    *,
    method: str,
    path: str,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    key_time: str = "",
) -> str:
    """Compute the signature of a request, 40 hex digits.

    Args:
        secret_key: the secret.
        sign_time: `start;end`, seconds since the epoch.
        method: in any case.
        path: decoded, with the leading slash.
        params: parameters to cover, decoded.
        headers: headers to cover.
        key_time: as `sign_time`, if it differs.
    """
    text = f"{method.lower()}\n{path}\n{_join(params)}\n{_join(headers)}\n"
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    sign_key = _mac(secret_key, key_time or sign_time)
    return _mac(sign_key, f"sha1\n{sign_time}\n{digest}\n")


def _mac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha1).hexdigest()


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _join(pairs: Mapping[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted(_encoded(pairs).items()))


def _encoded(pairs: Mapping[str, str]) -> dict[str, str]:
    return {_encode(name).lower(): _encode(value) for name, value in pairs.items()}


def verify(evidence: Evidence, secrets: Mapping[str, str], tokens: Mapping[str, str], now: float) -> None:
    """Verify that the request is signed by one of the keys, and that the signature is valid now.

    Args:
        evidence: the request.
        secrets: SecretId -> SecretKey.
        tokens: SecretId -> token that its requests must carry; requests of other SecretIds must carry none.
        now: seconds since the epoch.

    Raises:
        Refused: 403 with COS's code.
    """
    claimed = _read_signature(evidence)
    secret_key = secrets.get(claimed.secret_id)
    if secret_key is None:
        raise Refused(403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")
    _check_time(claimed, now)
    _check_token(evidence, tokens.get(claimed.secret_id, ""))
    params = _covered_params(claimed, evidence)
    headers = _covered_headers(claimed, evidence)
    matches = [
        hmac.compare_digest(
            claimed.signature.encode(),
            compute(
                secret_key,
                claimed.sign_time,
                method=evidence.method,
                path=path,
                params=params,
                headers={**headers, "host": host},
                key_time=claimed.key_time,
            ).encode(),
        )
        for path, host in itertools.product(evidence.paths, evidence.hosts)
    ]
    if not any(matches):
        raise Refused(
            403, "SignatureDoesNotMatch", "The signature we calculated does not match the signature you provided."
        )


def _denied(message: str) -> Refused:
    return Refused(403, "AccessDenied", message)


def _read_signature(evidence: Evidence) -> _SentSignature:
    header = evidence.headers.get("authorization", "")
    sent = [part.partition("=")[::2] for part in header.strip().split("&")] if header else evidence.params
    fields = [(name, value) for name, value in sent if name in _FIELDS]
    found = dict(fields)
    if not found:
        raise _denied("Access Denied.")
    if len(found) != len(_FIELDS) or len(fields) != len(_FIELDS) or found["q-sign-algorithm"] != "sha1":
        raise _denied("The signature is incomplete.")
    return _SentSignature(
        secret_id=found["q-ak"],
        sign_time=found["q-sign-time"],
        key_time=found["q-key-time"],
        header_names=_names(found["q-header-list"]),
        param_names=_names(found["q-url-param-list"]),
        signature=found["q-signature"],
    )


def _names(listed: str) -> tuple[str, ...]:
    names = tuple(listed.split(";")) if listed else ()
    if list(names) != sorted({name.lower() for name in names}):
        raise _denied("A list in the signature is not sorted, not in lower case, or names something twice.")
    return names


def _check_time(claimed: _SentSignature, now: float) -> None:
    for window in (claimed.sign_time, claimed.key_time):
        start, _, end = window.partition(";")
        if not (start.isascii() and start.isdigit() and end.isascii() and end.isdigit()):
            raise _denied("The signature has no valid time.")
        if now > int(end):
            raise _denied("Request has expired")
        if now < int(start):
            raise _denied("Request is not yet valid")


def _check_token(evidence: Evidence, expected: str) -> None:
    sent = [evidence.headers[name] for name in TOKEN_NAMES if name in evidence.headers]
    sent += [value for name, value in evidence.params if name == TOKEN_NAMES[0]]
    if not all(hmac.compare_digest(token.encode(), expected.encode()) for token in sent):
        raise _denied("The security token is not the one of this key.")
    if expected and not sent:
        raise _denied("The key is a temporary one and its security token is missing.")


def _covered_params(claimed: _SentSignature, evidence: Evidence) -> dict[str, str]:
    sent = [(name, value) for name, value in evidence.params if not _outside(name, claimed)]
    by_name = {_encode(name).lower(): (name, value) for name, value in sent}
    if len(by_name) != len(sent):
        raise _denied("A parameter is given twice.")
    if by_name.keys() != set(claimed.param_names):
        raise _denied("The parameters sent are not those that were signed.")
    return dict(by_name.values())


def _outside(name: str, claimed: _SentSignature) -> bool:
    """Return True for fields that need not be covered: those of the signature, and the token if it is not listed."""
    return name in _FIELDS or (name == TOKEN_NAMES[0] and name not in claimed.param_names)


def _covered_headers(claimed: _SentSignature, evidence: Evidence) -> dict[str, str]:
    missing = [name for name in claimed.header_names if name not in evidence.headers]
    if missing:
        raise _denied(f"Signed headers are missing: {', '.join(missing)[:200]}")
    unsigned = [name for name in evidence.headers if name.startswith("x-cos-") and name not in claimed.header_names]
    if unsigned:
        raise _denied(f"Headers are not signed: {', '.join(sorted(unsigned))[:200]}")
    if "host" not in claimed.header_names:
        raise _denied("The host is not signed.")
    return {name: evidence.headers[name] for name in claimed.header_names}
