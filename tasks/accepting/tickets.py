"""Tickets: the backend's signed statement of what it sold, carried by the uploader.

Uploaders write object metadata, so kind and parameters count only with a ticket: a JWT (RFC 7519) signed with HS256 by
the backend. Its claims: `sub` the user, `task`, `step`, `kind`, `params` the digest of the parameters, `exp`, `aud`
`scf-workers/ticket`, if there is more than one input `inputs`, and if the task is more or less urgent than others
`priority`. Any JWT library can issue one: `aud` may be a list of one, and a number may have a fraction that is zero, a
time any.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from messages.codes import Code
from services.errors import TicketRefused, WeakSecret
from telemetry.secrets import Secret

if TYPE_CHECKING:
    from jwt.types import Options

__all__ = [
    "AUDIENCE",
    "LEEWAY_S",
    "MAX_LIFETIME_S",
    "MAX_TICKET_BYTES",
    "MIN_SECRET_BYTES",
    "Ticket",
    "check_sold",
    "digest",
    "issue",
    "verify",
]

AUDIENCE: Final = "scf-workers/ticket"
"""Audience of a ticket; the same secret may sign other things."""

MAX_TICKET_BYTES: Final = 1500
"""A ticket travels as `x-cos-meta-ticket`, and COS allows 2 KB of user metadata in all (PUT Object, headers)."""

MIN_SECRET_BYTES: Final = 32
"""HS256 asks for a key at least as long as its hash (RFC 7518, section 3.2)."""

MAX_LIFETIME_S: Final = 30 * 86400.0
"""Seconds that a ticket may still be good for when its upload comes. It must end long before the ledger's records do: a
run whose records are gone would be done, and paid for, again."""

LEEWAY_S: Final = 600.0
"""Seconds that the backend's clock may be ahead of the store's when it says from when a ticket is good (`nbf`)."""

_EXACT_IN_DOUBLE: Final = 2.0**53
_AT: Final = re.compile(r"at `\$\.(\w+)")
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_WHOLE_CLAIMS: Final = ("step", "inputs")

_NumericDate = Annotated[float, msgspec.Meta(ge=-_EXACT_IN_DOUBLE, le=_EXACT_IN_DOUBLE)]
"""Seconds since the epoch, with or without a fraction (RFC 7519, section 2)."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sale of a kind of work with these parameters, for one step of one task."""

    user: str = msgspec.field(name="sub")
    task: str
    step: int
    kind: str
    params_digest: str = msgspec.field(name="params")
    """`digest` of the parameters."""
    expires: _NumericDate = msgspec.field(name="exp")
    """Seconds since the epoch; from then on the ticket is rejected."""
    not_before: _NumericDate = msgspec.field(name="nbf", default=0.0)
    """Seconds since the epoch; before that it is rejected too, but for `LEEWAY_S`."""
    inputs: int = 1
    """Most inputs that the task may have."""
    priority: Literal["high", "normal", "low"] = "normal"
    """Priority of the task among those that wait."""


def digest(params: Mapping[str, object]) -> str:
    """Return the SHA-256, in hex, of the parameters as canonical JSON: sorted keys, no spaces, UTF-8 unescaped.

    A whole number is written without a fraction, as JavaScript does, so backends in any language agree.

    Raises:
        ValueError: JSON cannot express them: NaN, infinity, half a surrogate pair, or nested too deeply.
    """
    try:
        text = json.dumps(
            _whole(dict(params)), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, RecursionError) as error:
        raise ValueError("parameters are not plain JSON") from error
    return hashlib.sha256(text.encode()).hexdigest()


def issue(ticket: Ticket, secret: Secret) -> str:
    """Sign a ticket: for the demo and for tests; in production the backend does.

    Raises:
        services.errors.WeakSecret: the secret is under `MIN_SECRET_BYTES`.
    """
    import jwt

    return jwt.encode({**msgspec.to_builtins(ticket), "aud": AUDIENCE}, _key(secret), algorithm="HS256")


def verify(token: str, secret: Secret, *, user: str, task: str, step: int) -> Ticket:
    """Return the ticket if the backend signed it for this step of this task. `check_sold` checks what it sells.

    Args:
        token: the uploader's token; empty for none.
        secret: shared with the backend.
        user: user of the upload.
        task: task of the upload.
        step: step of the upload.

    Raises:
        services.errors.TicketRefused: missing, not genuine, or for another step; `code` distinguishes them.
        services.errors.WeakSecret: the secret is under `MIN_SECRET_BYTES`.
    """
    if not token:
        raise TicketRefused("no ticket", code=Code.TICKET_MISSING)
    ticket = _decode(token, _key(secret))
    sold = {"sub": ticket.user, "task": ticket.task, "step": ticket.step}
    asked = {"sub": user, "task": task, "step": step}
    _refuse_other([name for name, value in asked.items() if sold[name] != value])
    return ticket


def check_sold(ticket: Ticket, *, now: float, kind: str, params: Mapping[str, object], inputs: int = 1) -> None:
    """Check that a ticket sells exactly this, or this with more inputs.

    Args:
        ticket: as `verify` returned it.
        now: seconds since the epoch; there is no leeway.
        kind: the kind it must sell.
        params: the parameters it must sell.
        inputs: number of inputs of the request.

    Raises:
        services.errors.TicketRefused: expired, or for something else; `code` distinguishes them.
    """
    if ticket.expires <= now:
        raise TicketRefused(f"claim exp: expired {now - ticket.expires:.0f} s ago", code=Code.TICKET_EXPIRED)
    if ticket.expires > now + MAX_LIFETIME_S:
        raise TicketRefused(f"claim exp: more than {MAX_LIFETIME_S / 86400:.0f} days ahead, or not in seconds")
    if ticket.not_before > now + LEEWAY_S:
        raise TicketRefused(f"claim nbf: not good for another {ticket.not_before - now:.0f} s")
    other = ["kind"] if ticket.kind != kind else []
    if ticket.params_digest.lower() != _digest_or_none(params):
        other.append("params")
    if inputs > ticket.inputs:
        other.append("inputs")
    _refuse_other(other)


def _refuse_other(names: Sequence[str]) -> None:
    if names:
        raise TicketRefused(f"claim {', '.join(names)}: sold for something else")


def _decode(token: str, key: bytes) -> Ticket:
    import jwt

    if len(token) > MAX_TICKET_BYTES:
        raise TicketRefused("longer than any ticket")
    try:
        claims = jwt.decode(token, key, algorithms=["HS256"], options=_options())
    except jwt.InvalidSignatureError:
        raise TicketRefused("signature: made with another secret, or the ticket was changed") from None
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        # Only the class: the text may repeat the uploader's text.
        raise TicketRefused(f"not a ticket of ours: {type(error).__name__}") from None
    _check_audience(claims)
    try:
        return msgspec.convert({name: _claim(name, value) for name, value in claims.items()}, Ticket)
    except msgspec.ValidationError as error:
        raise TicketRefused(_complaint(str(error))) from None


def _options() -> Options:
    """Return options that check the signature alone: this module checks the claims.

    An audience may be a list, and the caller says the time.
    """
    return {
        "verify_signature": True,
        "verify_aud": False,
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "verify_sub": False,
    }


def _check_audience(claims: Mapping[str, object]) -> None:
    match claims.get("aud"):
        case str(audience) | [str(audience)] if audience == AUDIENCE:
            return
        case None if "aud" not in claims:
            raise TicketRefused(f"claim aud: missing, must be {AUDIENCE}")
        case _:
            raise TicketRefused(f"claim aud: must be {AUDIENCE}, alone")


def _claim(name: str, value: object) -> object:
    """Convert a claim; a whole number may have a fraction of zero, as some JSON libraries write it."""
    return _whole(value) if name in _WHOLE_CLAIMS else value


def _complaint(text: str) -> str:
    """Return msgspec's error with the claim's name and without its value."""
    if found := _MISSING.search(text):
        return f"claim {found[1]}: missing"
    found = _AT.search(text)
    return f"claim {found[1] if found else '?'}: is of the wrong form"


def _digest_or_none(params: Mapping[str, object]) -> str | None:
    try:
        return digest(params)
    except ValueError:
        # The uploader's parameters; what JSON cannot express cannot have been sold.
        return None


def _key(secret: Secret) -> bytes:
    key = secret.reveal().encode()
    if len(key) < MIN_SECRET_BYTES:
        raise WeakSecret(f"the ticket secret has fewer than {MIN_SECRET_BYTES} bytes")
    return key


def _whole(value: object) -> object:
    match value:
        case float() if value.is_integer() and abs(value) < _EXACT_IN_DOUBLE:
            return int(value)
        case Mapping():
            return {key: _whole(item) for key, item in value.items()}
        case list() | tuple():
            return [_whole(item) for item in value]
        case _:
            return value
