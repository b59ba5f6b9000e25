"""Signatures of calls to the backend, in both forms (docs/backend.md). Pure."""

from __future__ import annotations

import hashlib
import hmac

from telemetry.secrets import Secret

__all__ = ["sign", "sign_v2"]


def sign(secret: Secret, *parts: str | int | bytes) -> str:
    """Return the HMAC-SHA256 of the concatenated parts, in hex."""
    text = b"".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
    return hmac.new(secret.reveal().encode(), text, hashlib.sha256).hexdigest()


def sign_v2(secret: Secret, method: str, target: str, timestamp: int, run: str, body: bytes) -> str:
    """Return the HMAC-SHA256 in hex over a whole call, each part on a line of its own.

    The lines, with a line feed between them: `v2`, method, path and query, timestamp, run, SHA-256 of the body in hex.
    No part but the last may hold a line feed, so no two calls have the same text.

    Args:
        secret: shared with the backend.
        method: in capitals.
        target: path and query as sent, from `/api/` or `/internal/` on: a prefix of the base URL is left out, because
            a gateway may take it off.
        timestamp: of `X-Timestamp`.
        run: of `X-Internal-Run`; empty where a call names none.
        body: as sent; empty for none.
    """
    lines = ("v2", method, target, str(timestamp), run, hashlib.sha256(body).hexdigest())
    return sign(secret, "\n".join(lines))
