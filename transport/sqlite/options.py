"""Options of the embedded broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Self
from urllib.parse import unquote, urlsplit

import msgspec

from transport.errors import BadBrokerUrl
from transport.port import Broker, BrokerCheck, Clock, Variables

__all__ = ["SqliteOptions"]

_REMEDY: Final = "use sqlite:///absolute/path/file.db or sqlite:///:memory:"


class SqliteOptions(msgspec.Struct, frozen=True):
    """Location of the broker file."""

    clock: ClassVar[Clock] = Clock.MACHINE
    remedy: ClassVar[str] = "check that BROKER_URL names a writable file on a local disk"

    url: str
    """`sqlite:///absolute/path/file.db` (shared: several processes may open it), or `sqlite:///:memory:` (private to
    one broker object)."""

    @classmethod
    def read(cls, url: str, variables: Variables) -> Self:  # noqa: ARG003 - the URL is the only option
        """Read the options from the URL; see the port."""
        options = cls(url)
        _ = options.path
        return options

    @property
    def address(self) -> str:
        """Empty: a file's backlogs can always be read."""
        return ""

    @property
    def path(self) -> str:
        """Path in the URL, or `:memory:`.

        Raises:
            transport.errors.BadBrokerUrl: the URL has no valid path; the text names the remedy.
        """
        parts = urlsplit(self.url)
        path = unquote(parts.path)
        if parts.netloc or parts.query or parts.fragment or not self.url.startswith("sqlite:///"):
            raise BadBrokerUrl(f"a sqlite URL must be three slashes and an absolute path only: {_REMEDY}")
        if path == "/:memory:":
            return ":memory:"
        if path.endswith("/") or "\0" in path:
            raise BadBrokerUrl(f"a sqlite URL must name a file: {_REMEDY}")
        return path

    async def open(self, clock: Callable[[], float]) -> Broker:
        """Open the file; see the port."""
        from transport.sqlite.broker import SqliteBroker

        return await SqliteBroker.open(self.path, clock=clock)

    def checks(self) -> Sequence[BrokerCheck]:
        """List the checks: a message round trip, every topic's subscription, and the backlog."""
        from transport.checks import backlog, round_trip, topics

        return (
            BrokerCheck("broker", round_trip, self.remedy),
            BrokerCheck("topics", topics, self.remedy),
            BrokerCheck("backlog", backlog, self.remedy),
        )
