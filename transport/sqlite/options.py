"""What the embedded broker is opened with."""

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
    """Where the broker's file lies."""

    clock: ClassVar[Clock] = Clock.MACHINE
    remedy: ClassVar[str] = "BROKER_URL: can its file be written, on a local disk?"

    url: str
    """`sqlite:///absolute/path/file.db` (several processes may open the same file), or `sqlite:///:memory:` (private to
    the object that is opened)."""

    @classmethod
    def read(cls, url: str, variables: Variables) -> Self:  # noqa: ARG003 - the URL says all
        """The options in an environment; see the port."""
        options = cls(url)
        _ = options.path
        return options

    @property
    def path(self) -> str:
        """The path in the URL, or `:memory:`.

        Raises:
            transport.errors.BadBrokerUrl: it has none; the text names the remedy.
        """
        parts = urlsplit(self.url)
        path = unquote(parts.path)
        if parts.netloc or parts.query or parts.fragment or not self.url.startswith("sqlite:///"):
            raise BadBrokerUrl(f"a sqlite URL has three slashes, an absolute path and nothing else: {_REMEDY}")
        if path == "/:memory:":
            return ":memory:"
        if path.endswith("/") or "\0" in path:
            raise BadBrokerUrl(f"a sqlite URL names a file: {_REMEDY}")
        return path

    async def open(self, clock: Callable[[], float]) -> Broker:
        """Open the file; see the port."""
        from transport.sqlite.broker import SqliteBroker

        return await SqliteBroker.open(self.path, clock=clock)

    def checks(self) -> Sequence[BrokerCheck]:
        """Whether messages travel, and every topic can be had."""
        from transport.checks import backlog, round_trip, topics

        return (
            BrokerCheck("broker", round_trip, self.remedy),
            BrokerCheck("topics", topics, self.remedy),
            BrokerCheck("backlog", backlog, self.remedy),
        )
