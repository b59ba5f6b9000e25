"""Backlogs, read from the admin interface (Pulsar: REST API, `admin/v2/persistent`).

The broker counts delayed messages only while an active consumer is connected, and it does not report the age of the
oldest due message. So this module peeks at a sample of the backlog: exact for a short backlog, else an estimate.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import msgspec

from messages.reasons import reason_of
from transport.errors import BadBrokerUrl, BrokerDown, BrokerUnauthorized
from transport.port import Backlog

__all__ = ["SAMPLE", "Admin", "Sampled", "estimate", "positions"]

SAMPLE: Final = 16
"""Messages to peek at, at most."""
_TIMEOUT: Final = 10.0
_DUE: Final = "X-Pulsar-deliver-at-time"
_PUBLISHED: Final = "X-Pulsar-publish-time"


class _Counts(msgspec.Struct, frozen=True):
    depth: int = msgspec.field(name="msgBacklog", default=0)
    held: int = msgspec.field(name="unackedMessages", default=0)
    delayed: int = msgspec.field(name="msgDelayed", default=0)


class _Stats(msgspec.Struct, frozen=True):
    subscriptions: Mapping[str, _Counts] = {}


class Sampled(msgspec.Struct, frozen=True):
    """A message of the sample: when it was published and when it is due, in seconds since the epoch."""

    published: float
    due: float


class Admin:
    """Client of the admin interface. Its calls block: run them in a thread.

    Args:
        url: base URL of the admin interface.
        token: returns the current token.
        tls: verifies the certificate of an `https` URL.
        clock: returns the wall time in seconds.

    Raises:
        transport.errors.BadBrokerUrl: the URL is not `http://host:port` or `https://host:port`.
    """

    def __init__(
        self, url: str, token: Callable[[], str] | None, tls: ssl.SSLContext | None, clock: Callable[[], float]
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise BadBrokerUrl("BROKER_ADMIN_URL must be http://host:port or https://host:port")
        self._url = url.rstrip("/")
        self._token = token
        self._clock = clock
        # No proxy: the broker is in the same network, as for the client. Redirects to another broker are followed.
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=tls))

    def probe(self, path: str) -> None:
        """Look a topic up, to check that the broker is reachable and accepts the token; any other answer passes.

        Raises:
            transport.errors.BrokerDown: no answer.
            transport.errors.BrokerUnauthorized: the broker rejects the token.
        """
        self._get(f"/lookup/v2/topic/{_rest_path(path)}")

    def backlog(self, path: str, subscription: str) -> Backlog:
        """Read the backlog of a topic without partitions; zero if the topic or the subscription does not exist.

        Args:
            path: `persistent://tenant/namespace/topic`.
            subscription: name of the subscription.

        Raises:
            transport.errors.BrokerDown: no answer, or an unusable one.
            transport.errors.BrokerUnauthorized: the token lacks the permission.
        """
        base = f"/admin/v2/{_rest_path(path)}"
        status, _, body = self._get(f"{base}/stats?getPreciseBacklog=true")
        if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            raise BrokerDown(f"the admin interface answered HTTP {status} for {path}")
        try:
            stats = msgspec.json.decode(body, type=_Stats) if status == HTTPStatus.OK else _Stats()
        except msgspec.MsgspecError as error:
            raise BrokerDown(f"the server at {self._url} is not a Pulsar admin interface") from error
        counts = stats.subscriptions.get(subscription, _Counts())
        sample: list[Sampled] = []
        if counts.depth > counts.held:
            peek = f"{base}/subscription/{quote(subscription, safe='')}/position"
            looks = [self._get(f"{peek}/{position}") for position in positions(counts.depth)]
            sample = [_sampled(headers) for found, headers, _ in looks if found == HTTPStatus.OK]
        return estimate(counts.depth, counts.held, sample, self._clock(), counts.delayed)

    def _get(self, path: str) -> tuple[int, Message, bytes]:
        headers = {"Authorization": f"Bearer {self._token()}"} if self._token else {}
        request = Request(f"{self._url}{path}", headers=headers)  # noqa: S310 - the scheme was checked
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                return answer.status, answer.headers, answer.read()
        except HTTPError as error:
            error.close()
            if error.code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                raise BrokerUnauthorized(f"{self._url} rejects the token in BROKER_TOKEN: HTTP {error.code}") from error
            return error.code, error.headers, b""
        except (OSError, HTTPException) as error:
            raise BrokerDown(f"{self._url}: {reason_of(error)}") from error


def positions(depth: int) -> Sequence[int]:
    """Choose the positions to peek at: all of a short backlog, else evenly spread ones that include both ends."""
    if depth <= SAMPLE:
        return range(1, depth + 1)
    return [1 + round(number * (depth - 1) / (SAMPLE - 1)) for number in range(SAMPLE)]


def estimate(depth: int, held: int, sample: Sequence[Sampled], now: float, counted: int) -> Backlog:
    """Estimate a backlog from a sample.

    Args:
        depth: number of unacked messages.
        held: number of messages that consumers hold.
        sample: the messages peeked at; consumers may hold some of them.
        now: seconds since the epoch.
        counted: number of delayed messages by the broker's count, used if the sample is empty.
    """
    waiting = max(depth - held, 0)
    later = sum(seen.due > now for seen in sample)
    delayed = min(waiting, round(depth * later / len(sample)) if sample else counted)
    ready = waiting - delayed
    ages = [max(0.0, now - max(seen.published, seen.due)) for seen in sample if seen.due <= now]
    return Backlog(ready=ready, delayed=delayed, in_flight=held, oldest_age=max(ages, default=0.0) if ready else 0.0)


def _sampled(headers: Message) -> Sampled:
    return Sampled(_seconds(headers.get(_PUBLISHED)), _seconds(headers.get(_DUE)))


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _rest_path(path: str) -> str:
    """Convert `persistent://a/b/c` to the form in REST paths, `persistent/a/b/c`."""
    return path.replace("://", "/", 1)
