"""COS request signatures: computing and checking them.

Source: Tencent COS, "Request signature" (document 436/7778). A signature may come in the `Authorization` header or, on
presigned URLs, as query parameters. Where the service is known or suspected to be lenient, this stand-in is strict, so
that what passes here passes there: `host` must be signed, and so must every `x-cos-*` header and every parameter sent.
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
    """What of a request a signature may cover."""

    method: str
    paths: tuple[str, ...]
    """Decoded, with the leading slash, as a signer may have spelled it: in path style the SDK drops the bucket."""
    hosts: tuple[str, ...]
    """Spellings of the host. The SDK leaves the port out."""
    headers: Mapping[str, str]
    """By lower-case name."""
    params: Sequence[tuple[str, str]]
    """Decoded query parameters in the order sent, those of the signature too."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A signature as sent."""

    secret_id: str
    sign_time: str
    key_time: str
    header_names: tuple[str, ...]
    param_names: tuple[str, ...]
    signature: str


def is_signature_field(name: str) -> bool:
    """Whether a query parameter belongs to a presigned URL's signature and not to the request."""
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
    """The signature of a request, 40 hex digits.

    Args:
        secret_key: the secret.
        sign_time: `start;end`, seconds since the epoch.
        method: any case.
        path: decoded, with the leading slash.
        params: the parameters to be covered, decoded.
        headers: the headers to be covered.
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
    """Return if the request is signed by one of the keys, now.

    Args:
        evidence: the request.
        secrets: SecretId -> SecretKey.
        tokens: SecretId -> the token its requests must carry; other SecretIds must carry none.
        now: seconds since the epoch.

    Raises:
        Refused: 403 with the code COS uses.
    """
    claim = _read_claim(evidence)
    secret_key = secrets.get(claim.secret_id)
    if secret_key is None:
        raise Refused(403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")
    _check_time(claim, now)
    _check_token(evidence, tokens.get(claim.secret_id, ""))
    params = _covered_params(claim, evidence)
    headers = _covered_headers(claim, evidence)
    matches = [
        hmac.compare_digest(
            claim.signature.encode(),
            compute(
                secret_key,
                claim.sign_time,
                method=evidence.method,
                path=path,
                params=params,
                headers={**headers, "host": host},
                key_time=claim.key_time,
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


def _read_claim(evidence: Evidence) -> _Claim:
    header = evidence.headers.get("authorization", "")
    sent = [part.partition("=")[::2] for part in header.strip().split("&")] if header else evidence.params
    fields = [(name, value) for name, value in sent if name in _FIELDS]
    found = dict(fields)
    if not found:
        raise _denied("Access Denied.")
    if len(found) != len(_FIELDS) or len(fields) != len(_FIELDS) or found["q-sign-algorithm"] != "sha1":
        raise _denied("The signature is incomplete.")
    return _Claim(
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


def _check_time(claim: _Claim, now: float) -> None:
    for window in (claim.sign_time, claim.key_time):
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


def _covered_params(claim: _Claim, evidence: Evidence) -> dict[str, str]:
    sent = [(name, value) for name, value in evidence.params if not _outside(name, claim)]
    by_name = {_encode(name).lower(): (name, value) for name, value in sent}
    if len(by_name) != len(sent):
        raise _denied("A parameter is given twice.")
    if by_name.keys() != set(claim.param_names):
        raise _denied("The parameters sent are not those that were signed.")
    return dict(by_name.values())


def _outside(name: str, claim: _Claim) -> bool:
    """The signature's own fields are never covered; the token may be."""
    return name in _FIELDS or (name == TOKEN_NAMES[0] and name not in claim.param_names)


def _covered_headers(claim: _Claim, evidence: Evidence) -> dict[str, str]:
    missing = [name for name in claim.header_names if name not in evidence.headers]
    if missing:
        raise _denied(f"Signed headers are missing: {', '.join(missing)[:200]}")
    unsigned = [name for name in evidence.headers if name.startswith("x-cos-") and name not in claim.header_names]
    if unsigned:
        raise _denied(f"Headers are not signed: {', '.join(sorted(unsigned))[:200]}")
    if "host" not in claim.header_names:
        raise _denied("The host is not signed.")
    return {name: evidence.headers[name] for name in claim.header_names}
