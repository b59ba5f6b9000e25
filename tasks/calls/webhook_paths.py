"""Unguessable paths for a vendor's webhook calls.

RunningHub signs no webhook (docs/reference/vendors.md), so the proof is the path that the create has sent:

    /webhook/{vendor}/{user}/{task}/{step}/{run}/{slot}/{n}/{token}

The token is an HMAC-SHA256 over all that stands before it, with a key of its own, derived from the secret: so nothing
else that is signed with the secret can serve as a token, nor the other way round. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from messages.keys import ID_PATTERN, RunId
from telemetry.secrets import Secret

__all__ = ["WebhookPath", "Webhooks", "parse_path"]

_PURPOSE: Final = b"scf-workers/webhook"
_ID: Final = rf"(?!-/){ID_PATTERN}"
_COUNT: Final = r"0|[1-9][0-9]{0,5}"
_ORDINAL: Final = r"[1-9][0-9]{0,5}"
_PATH: Final = re.compile(
    rf"/webhook/(?P<vendor>[a-z][a-z0-9_]{{0,31}})/(?P<user>{_ID})/(?P<task>{_ID})"
    rf"/(?P<step>{_COUNT})/(?P<run>{_COUNT})/(?P<slot>{_ORDINAL})/(?P<n>{_ORDINAL})/(?P<token>[0-9a-f]{{64}})",
    re.ASCII,
)


class WebhookPath(msgspec.Struct, frozen=True):
    """Contents of a path, proven or not."""

    vendor: str
    run: RunId
    slot: int
    """Slot of the paid call, from 1."""
    n: int
    """Number of the paid call in its slot, from 1."""
    token: str


def parse_path(path: str) -> WebhookPath | None:
    """Return the contents of a path; None for one of another shape."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    run = RunId(found["user"], found["task"], int(found["step"]), int(found["run"]))
    return WebhookPath(found["vendor"], run, int(found["slot"]), int(found["n"]), found["token"])


class Webhooks:
    """Maker and verifier of webhook URLs.

    Args:
        base_url: where vendors reach `producer.webhook`; empty when they cannot.
        secret: key from which the tokens' key is derived; with an empty one no path is valid.
    """

    def __init__(self, base_url: str, secret: Secret) -> None:
        self._base_url = base_url.rstrip("/")
        self._secret = secret

    def url(self, vendor: str, run: RunId, slot: int, n: int) -> str:
        """Return the URL that the n-th paid call of a slot sends to the vendor: a secret. Empty without a base URL."""
        if not self._base_url or not self._secret:
            return ""
        path = _unsigned(vendor, run, slot, n)
        return f"{self._base_url}{path}/{self._token(path)}"

    def is_for(self, url: str, vendor: str, run: RunId, slot: int, n: int) -> bool:
        """Return True if a URL is the one that a paid call has sent, compared in constant time.

        By its path: the base URL may have changed since.
        """
        path = _unsigned(vendor, run, slot, n)
        try:
            shown = urlsplit(url).path
        except ValueError:
            return False
        own = f"{path}/{self._token(path)}"
        return bool(self._secret) and hmac.compare_digest(shown[-len(own) :].encode(), own.encode())

    def verify(self, claim: WebhookPath) -> bool:
        """Return True if `url` made a path, compared in constant time."""
        expected = self._token(_unsigned(claim.vendor, claim.run, claim.slot, claim.n))
        return bool(self._secret) and hmac.compare_digest(expected.encode(), claim.token.encode())

    def _token(self, path: str) -> str:
        key = hmac.new(self._secret.reveal().encode(), _PURPOSE, hashlib.sha256).digest()
        return hmac.new(key, path.encode(), hashlib.sha256).hexdigest()


def _unsigned(vendor: str, run: RunId, slot: int, n: int) -> str:
    return f"/webhook/{vendor}/{run.user}/{run.task}/{run.step}/{run.run}/{slot}/{n}"
