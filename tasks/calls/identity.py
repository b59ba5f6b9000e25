"""The identity of a paid call: sent with the create, so that the vendor can find the call by it.

An HMAC-SHA256 over deployment, run, slot and number: it reveals no name, and no two calls of any two deployments
share one. Its key is derived from a secret, so that nothing else that is signed with the secret can serve as one. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from messages.keys import RunId
from telemetry.secrets import Secret

__all__ = ["CallIdentities"]

_PURPOSE: Final = b"scf-workers/call"
_DIGITS: Final = 50
"""Hexadecimal digits of an identity: 200 bits, as much as the shortest field of a vendor's takes (VOD: SessionId)."""


class CallIdentities:
    """Maker of identities.

    Args:
        deployment: unique name of the deployment: its ledger's bucket.
        secret: key from which the identities' key is derived.
    """

    def __init__(self, deployment: str, secret: Secret) -> None:
        self._deployment = deployment
        self._secret = secret

    def of(self, run: RunId, slot: int, n: int) -> str:
        """Return the identity of the n-th paid call of a slot."""
        key = hmac.new(self._secret.reveal().encode(), _PURPOSE, hashlib.sha256).digest()
        said = f"{self._deployment}/{run.stem}/{slot}/{n}"
        return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()[:_DIGITS]
