"""Signatures of the backend: verification of the workers' calls, and tickets for sold tasks.

It shares no code with the workers: two independent implementations that agree prove more than one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["RUN", "SIGNATURE", "SIGNATURE_V2", "TIMESTAMP", "Signatures"]

SIGNATURE: Final = "x-internal-signature"
SIGNATURE_V2: Final = "x-internal-signature-v2"
RUN: Final = "x-internal-run"
TIMESTAMP: Final = "x-timestamp"

_MIN_KEY_BYTES: Final = 32


class Signatures:
    """Verifies signatures and issues tickets.

    Args:
        secret: shared with the workers for callbacks and questions.
        ticket_secret: shared with the workers for tickets; at least 32 bytes.
        clock: seconds since the epoch.
        max_age_s: greatest distance of a timestamp from now, before or after.

    Raises:
        ValueError: the ticket secret is too short for HS256.
    """

    def __init__(self, secret: str, ticket_secret: str, clock: Callable[[], float], max_age_s: float) -> None:
        if len(ticket_secret.encode()) < _MIN_KEY_BYTES:
            raise ValueError(f"ticket_secret needs {_MIN_KEY_BYTES} bytes")
        self._key = secret.encode()
        self._ticket_key = ticket_secret
        self._clock = clock
        self._max_age_s = max_age_s

    def is_signed(self, headers: Mapping[str, str], *covered: str | int) -> bool:
        """Return True if the call is signed over these parts and its timestamp, and the timestamp is recent."""
        timestamp = headers.get(TIMESTAMP, "")
        signed = "".join(str(part) for part in covered) + timestamp
        return self._is_fresh(timestamp) and self._matches(headers.get(SIGNATURE, ""), signed.encode())

    def v2_verdict(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
        """Check the signature over the whole call: `ok`, `missing` or `bad`.

        Args:
            method: method of the call.
            target: its path and query as received.
            headers: its headers with names in lower case.
            body: its body as received.
        """
        claimed = headers.get(SIGNATURE_V2)
        if claimed is None:
            return "missing"
        digest = hashlib.sha256(body).hexdigest()
        lines = ["v2", method, target, headers.get(TIMESTAMP, ""), headers.get(RUN, ""), digest]
        return "ok" if self._matches(claimed, "\n".join(lines).encode()) else "bad"

    def ticket(
        self,
        *,
        user: str,
        task: str,
        step: int,
        kind: str,
        params: Mapping[str, object],
        expires: int,
        more: Mapping[str, object],
    ) -> str:
        """Return a ticket for one step: a JWT that states what was sold; `more` are further claims."""
        import jwt

        plain = json.loads(json.dumps(params), parse_float=_as_javascript)
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        claims = {
            "aud": "scf-workers/ticket",
            "sub": user,
            "task": task,
            "step": step,
            "kind": kind,
            "params": hashlib.sha256(text.encode()).hexdigest(),
            "exp": expires,
            **more,
        }
        return jwt.encode(claims, self._ticket_key, algorithm="HS256")

    def _is_fresh(self, timestamp: str) -> bool:
        return timestamp.isdecimal() and abs(self._clock() - int(timestamp)) <= self._max_age_s

    def _matches(self, claimed: str, text: bytes) -> bool:
        expected = hmac.new(self._key, text, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), claimed.encode())


def _as_javascript(text: str) -> float:
    """Parse a number as a backend in JavaScript would print it: 1.0 is 1."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
