"""The brokers that the suite runs on. To add a broker, write its environment and list it in `ENVIRONMENTS`.

A test takes the fixture `environment` and runs on every broker. Where brokers differ, a pair of tests shows what each
declares: `@shared`, `@private`, `@lasting` and `@fleeting` give a test only the environments that declare so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

import pytest
from _pytest.mark import ParameterSet

from tests.support.patience import PATIENCE_S
from tests.support.pulsar_part import the_broker
from transport import open_broker
from transport.port import Broker, Capabilities
from transport.pulsar import PulsarOptions
from transport.sqlite import SqliteBroker


class Environment(Protocol):
    """Environment of a broker, fresh for each test."""

    capabilities: Capabilities
    """Capabilities that its brokers must declare."""
    volume: int
    """Messages in the tests of many messages."""
    hang_limit: float
    """Seconds after which a hanging process loses its messages, if opened with a short lease; 0.0 if private."""

    async def open(self, *, impatient: bool = False) -> Broker:
        """Open another connection; an impatient one uses `hang_limit`."""
        ...

    async def stored_bytes(self) -> int:
        """Return the bytes used on disk; 0 if they are not tested."""
        ...

    def arguments(self, *, impatient: bool = False) -> list[str]:
        """Return the arguments with which `holder.py` opens this environment."""
        ...


class SqliteFile:
    """The embedded broker in a file."""

    capabilities = Capabilities(
        survives_restart=True, shared_between_processes=True, exact_backlog=True, knows_dead_holders=True
    )
    volume = 25_000
    hang_limit = 1.0

    def __init__(self, folder: Path) -> None:
        self.path = folder / "queue" / "broker.db"

    async def open(self, *, impatient: bool = False) -> Broker:
        return await SqliteBroker.open(str(self.path), lease=self._lease(impatient=impatient))

    async def stored_bytes(self) -> int:
        files = await asyncio.to_thread(lambda: [file.stat().st_size for file in self.path.parent.glob("broker.db*")])
        return sum(files)

    def arguments(self, *, impatient: bool = False) -> list[str]:
        return ["--sqlite", str(self.path), "--lease", str(self._lease(impatient=impatient))]

    def _lease(self, *, impatient: bool) -> float:
        return self.hang_limit if impatient else 10 * PATIENCE_S


class SqliteMemory:
    """The embedded broker in memory, private to its object."""

    capabilities = Capabilities(
        survives_restart=False, shared_between_processes=False, exact_backlog=True, knows_dead_holders=False
    )
    volume = 20_000
    hang_limit = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def open(self, *, impatient: bool = False) -> Broker:
        return await open_broker("sqlite:///:memory:")

    async def stored_bytes(self) -> int:
        return 0

    def arguments(self, *, impatient: bool = False) -> list[str]:
        raise AssertionError("nobody else can reach this broker")


class PulsarNamespace:
    """A namespace of a real Pulsar; every connection has a token."""

    capabilities = Capabilities(
        survives_restart=True, shared_between_processes=True, exact_backlog=False, knows_dead_holders=False
    )
    volume = 4_000

    def __init__(self, folder: Path) -> None:
        self.place = the_broker()
        self.hang_limit = 2 * self.place.keep_alive
        self.namespace = self.place.new_namespace()

    async def open(self, *, impatient: bool = False) -> Broker:
        place = self.place
        return await open_broker(
            PulsarOptions(url=place.url, token=place.supplier, namespace=self.namespace, admin_url=place.admin_url)
        )

    async def stored_bytes(self) -> int:
        return 0

    def arguments(self, *, impatient: bool = False) -> list[str]:
        return ["--url", self.place.url, "--token", self.place.token, "--namespace", self.namespace]


class Kind(Protocol):
    """Creates environments of a kind."""

    capabilities: Capabilities

    def __call__(self, folder: Path) -> Environment: ...


ENVIRONMENTS: Final[dict[str, Kind]] = {"file": SqliteFile, "memory": SqliteMemory, "pulsar": PulsarNamespace}
_MARKS: Final = {"pulsar": [pytest.mark.pulsar]}


def names_of(kinds: Iterable[str]) -> list[ParameterSet]:
    """Return the kinds as parameters of a fixture, with their marks."""
    return [pytest.param(name, marks=_MARKS.get(name, [])) for name in sorted(kinds)]


def _only(choice: Callable[[Capabilities], bool]) -> pytest.MarkDecorator:
    names = names_of(name for name, kind in ENVIRONMENTS.items() if choice(kind.capabilities))
    return pytest.mark.parametrize("environment", names, indirect=True)


shared = _only(lambda capabilities: capabilities.shared_between_processes)
private = _only(lambda capabilities: not capabilities.shared_between_processes)
lasting = _only(lambda capabilities: capabilities.survives_restart)
fleeting = _only(lambda capabilities: not capabilities.survives_restart)
