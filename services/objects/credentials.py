"""Credentials for requests to COS."""

from __future__ import annotations

import msgspec

from telemetry.secrets import Secret

__all__ = ["Credentials"]


class Credentials(msgspec.Struct, frozen=True):
    """A key pair, or a role's key pair with its token. Two are equal when every part is."""

    secret_id: Secret
    secret_key: Secret
    token: Secret = Secret("")
    """The STS token of a role; empty for a key pair that does not end."""
