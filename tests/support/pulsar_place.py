"""A Pulsar that tests may use, and its source."""

from __future__ import annotations

import enum
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import msgspec

__all__ = ["KEEP_ALIVE", "SETTINGS", "Place", "Source", "engine_answers", "given", "source_of"]

KEEP_ALIVE: Final = 2
"""Seconds between two pings of a broker of ours: a process that hangs is noticed after one to two of them."""

SETTINGS: Final = {
    "keepAliveIntervalSeconds": str(KEEP_ALIVE),
    # Delays as Pulsar ships them, a second early and a second late: the adapter keeps what comes early.
    "isDelayedDeliveryDeliverAtTimeStrict": "false",
    "delayedDeliveryTickTimeMillis": "1000",
    # Pulsar's default is 50000. That many delays with rising due times stop a topic; here it is a hundredth.
    "delayedDeliveryFixedDelayDetectionLookahead": "500",
}
"""Settings of our brokers that differ from Pulsar's own defaults."""

_STOCK_KEEP_ALIVE: Final = 30
_ENGINE_LIMIT: Final = 5


class Source(enum.Enum):
    """The runner of a test's broker."""

    GIVEN = "PULSAR_URL"
    CONTAINER = "a container"
    LOCAL = "Java"


def source_of(*, own: bool, given: bool, engine: Callable[[], bool], local: bool) -> Source | None:
    """Source of a test's broker; None if there is none for it here.

    Args:
        own: the test configures or kills its broker, and needs one of ours on this machine.
        given: PULSAR_URL names one.
        engine: returns whether a Docker engine answers; called only if needed. local: the server distribution can be
        fetched and run.
    """
    if given and not own:
        return Source.GIVEN
    if not own and engine():
        return Source.CONTAINER
    return Source.LOCAL if local else None


def engine_answers() -> bool:
    """Return True if a Docker engine answers: the program alone, without an engine, is of no use."""
    # In a process of its own, because the library leaves sockets open when no engine answers.
    ask = f"import docker; docker.from_env(timeout={_ENGINE_LIMIT}).ping()"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, check=False, timeout=12 * _ENGINE_LIMIT)
    return done.returncode == 0


class Place(msgspec.Struct, frozen=True):
    """A broker that tests may use, each in a namespace of its own."""

    url: str
    admin_url: str
    token: str = ""
    keep_alive: float = KEEP_ALIVE
    """Seconds between two of its pings."""

    def supply(self) -> str:
        """As `open_broker` takes a token."""
        return self.token

    @property
    def supplier(self) -> Callable[[], str] | None:
        """None if no token is needed."""
        return self.supply if self.token else None

    def new_namespace(self) -> str:
        """Create a namespace for this test alone."""
        name = f"t{secrets.token_hex(6)}"
        assert self.ask("PUT", f"/admin/v2/namespaces/public/{name}") == HTTPStatus.NO_CONTENT
        return name

    def ready(self) -> bool:
        """True if it serves topics: its port is open long before."""
        try:
            return self.ask("GET", "/lookup/v2/topic/persistent/public/default/ready") == HTTPStatus.OK
        except OSError:
            return False

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        """Send a request to the admin interface; return the status."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(  # noqa: S310 - our own http URL
            f"{self.admin_url}{path}", data=body, headers=headers, method=method
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code


def given(environ: Mapping[str, str]) -> Place:
    """The broker that an environment names by PULSAR_URL, PULSAR_ADMIN_URL, PULSAR_TOKEN and PULSAR_KEEP_ALIVE."""
    url = environ["PULSAR_URL"]
    admin = environ.get("PULSAR_ADMIN_URL") or f"http://{urlsplit(url).hostname}:8080"
    keep_alive = float(environ.get("PULSAR_KEEP_ALIVE") or _STOCK_KEEP_ALIVE)
    return Place(url, admin, environ.get("PULSAR_TOKEN", ""), keep_alive)
