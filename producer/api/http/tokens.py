"""Bearer tokens: a JWT (RFC 7519) that the customer's login signs with HS256. Pure.

Claims: `sub` the user, `exp` the end, optionally `nbf`, and `role`: `operator` for statistics of all users. Others are
ignored, but a token for another audience of ours (a ticket) is not valid for the API.
"""

from __future__ import annotations

from typing import Final

import msgspec

from messages.errors import InvalidKey
from messages.keys import check_id
from producer.api.http.problems import Failure
from tasks.accepting.tickets import AUDIENCE as TICKETS
from telemetry.secrets import Secret

__all__ = ["LEEWAY_S", "MAX_TOKEN_BYTES", "Caller", "caller_of"]

MAX_TOKEN_BYTES: Final = 4096

LEEWAY_S: Final = 30.0
"""Seconds that the signer's clock may be ahead."""


class Caller(msgspec.Struct, frozen=True):
    """The user who calls."""

    user: str
    operator: bool = False


class _Claims(msgspec.Struct):
    sub: str
    exp: float
    nbf: float = 0.0
    role: str = ""
    aud: str | list[str] = ""


def caller_of(authorization: str, secret: Secret, now: float) -> Caller:
    """Return the caller whom the header `Authorization` proves.

    Args:
        authorization: the header; empty for none.
        secret: shared with the signer of tokens.
        now: seconds since the epoch.

    Raises:
        producer.api.http.problems.Failure: 401: missing, not genuine, expired, or without a usable user.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
        raise _denied("send `Authorization: Bearer` and a token")
    claims = _verified(token.strip(), secret)
    if TICKETS in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
        raise _denied("a ticket is no token")
    # NaN is no time at which it ends.
    if not claims.exp > now:
        raise _denied("the token has expired")
    if claims.nbf > now + LEEWAY_S:
        raise _denied("the token is not good yet")
    try:
        return Caller(check_id(claims.sub, "sub"), claims.role == "operator")
    except InvalidKey:
        raise _denied("the token's `sub` cannot be a user") from None


def _verified(token: str, secret: Secret) -> _Claims:
    import jwt

    try:
        # The claims are checked above, by the caller's clock.
        options = {f"verify_{claim}": False for claim in ("aud", "exp", "nbf", "iat", "sub")}
        claims = jwt.decode(token, secret.reveal(), algorithms=["HS256"], options=options)  # type: ignore[arg-type]
        return msgspec.convert(claims, _Claims)
    except (jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError):
        raise _denied("the token is not genuine") from None


def _denied(detail: str) -> Failure:
    return Failure(401, detail, code="unauthorized")
