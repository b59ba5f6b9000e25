"""A third broker takes its folder, one row in the table of adapters, and its settings."""

from __future__ import annotations

from pathlib import Path

from tests.seams.scratch import Scratch

ADAPTER = '''"""A toy: the embedded broker in memory, one for each named room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import msgspec

from transport.errors import BadBrokerUrl
from transport.port import Broker, BrokerCheck, Clock, Variables


class ToyOptions(msgspec.Struct, frozen=True):
    clock: ClassVar[Clock] = Clock.SERVER
    remedy: ClassVar[str] = "BROKER_ROOM must name a room"

    url: str
    room: str

    @property
    def address(self) -> str:
        return self.url

    @classmethod
    def read(cls, url: str, variables: Variables) -> Self:
        if not variables("BROKER_ROOM"):
            raise BadBrokerUrl("a toy broker needs BROKER_ROOM")
        return cls(url, variables("BROKER_ROOM"))

    async def open(self, clock: Callable[[], float]) -> Broker:
        from transport.sqlite import SqliteBroker

        return await SqliteBroker.open(":memory:", clock=clock)

    def checks(self) -> Sequence[BrokerCheck]:
        from transport.checks import round_trip

        return (BrokerCheck(f"room {self.room}", round_trip, self.remedy),)


Options = ToyOptions
'''

PROGRAM = """
import asyncio, os, time
from console.doctor.checks import checks_of
from runtime.buckets import open_buckets
from runtime.settings import load_settings
from runtime.wiring import broker_options, open_services

environ = {
    "BROKER_URL": "toy://here", "BROKER_ROOM": "attic",
    "COS_BUCKET": "data-1250000000", "LEDGER_BUCKET": "ledger-1250000000",
    "TENCENTCLOUD_SECRET_ID": "id-of-nobody", "TENCENTCLOUD_SECRET_KEY": "key-of-nobody",
    "BACKEND_URL": "http://127.0.0.1:9", "INTERNAL_CALLBACK_SECRET": "a-secret-of-thirty-two-bytes-at-least",
    "TICKET_SECRET": "another-secret-of-thirty-two-bytes-at-least", "MESSAGE_UNSIGNED": "true",
}

async def main():
    settings = load_settings(environ)
    async with (
        open_services(settings, lambda: environ, vendors=False) as services,
        open_buckets(settings, lambda: environ) as buckets,
    ):
        check = checks_of(settings, broker_options(settings, lambda: environ), services, buckets)[0]
        print(check.name, "|", await check.run(), "|", check.remedy)
        services.ledger.learn(time.time() + 7200)
        await services.broker.publish("poll", b"x", delay=60)
        print((await services.broker.backlog("poll", "workers")).delayed)

asyncio.run(main())
"""


def _with_toy(folder: Path) -> Scratch:
    scratch = Scratch(folder)
    scratch.add("transport/toy/__init__.py", ADAPTER)
    scratch.replace(
        "transport/__init__.py",
        "_ADAPTERS: Final = (\n",
        '_ADAPTERS: Final = (\n    _Adapter("toy", frozenset({"toy"}), "toy://here"),\n',
    )
    return scratch


def test_a_third_broker_touches_its_folder_one_row_and_its_settings(tmp_path: Path) -> None:
    scratch = _with_toy(tmp_path / "copy")
    scratch.replace(
        "runtime/settings.py",
        '    broker_token: Secret = Secret("")\n',
        '    broker_room: str = ""\n    broker_token: Secret = Secret("")\n',
    )
    ran = scratch.run("-c", PROGRAM)
    assert ran.stdout.splitlines() == [
        "room attic | a message was published, delivered and acked | BROKER_ROOM must name a room",
        "1",
    ], ran.stderr
    assert scratch.touched() == ["runtime/settings.py", "transport/__init__.py", "transport/toy/__init__.py"]


def test_an_adapter_without_its_setting_says_what_to_set(tmp_path: Path) -> None:
    scratch = _with_toy(tmp_path / "copy")
    program = "import asyncio; from transport import open_broker; asyncio.run(open_broker({!r}))"
    assert "a toy broker needs BROKER_ROOM" in scratch.run("-c", program.format("toy://here")).stderr
    assert "use toy://here, or sqlite:///absolute" in scratch.run("-c", program.format("amqp://x")).stderr
