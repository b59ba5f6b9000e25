"""Opening brokers by URL; the error for a bad URL names the remedy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from messages.errors import Permanent
from transport import open_broker
from transport.errors import BadBrokerUrl
from transport.port import Broker
from transport.sqlite import SqliteBroker
from transport.sqlite.clocks import Clocks


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://localhost", "no broker has the URL scheme 'redis'"),
        ("", "no broker has the URL scheme ''"),
        ("/srv/broker.db", "no broker has the URL scheme ''"),
        ("sqlite://broker.db", "three slashes"),
        ("sqlite:/srv/broker.db", "three slashes"),
        ("sqlite:broker.db", "three slashes"),
        ("sqlite:///srv/broker.db?mode=ro", "three slashes"),
        ("sqlite:///srv/", "must name a file"),
        ("sqlite:///", "must name a file"),
        ("sqlite:///srv/%00.db", "must name a file"),
    ],
)
async def test_a_bad_url_is_rejected_with_a_remedy(url: str, said: str) -> None:
    with pytest.raises(BadBrokerUrl, match=said) as caught:
        await open_broker(url)
    assert "use sqlite:///absolute/path/file.db or sqlite:///:memory:" in str(caught.value)
    assert isinstance(caught.value, Permanent)


async def test_a_url_with_a_password_is_not_repeated() -> None:
    with pytest.raises(BadBrokerUrl) as caught:
        await open_broker("amqp://user:planted-secret@host/")
    assert "planted-secret" not in str(caught.value)


async def use(url: str) -> None:
    broker = await open_broker(url)
    assert isinstance(broker, Broker)
    await broker.publish("wake", b"x")
    await broker.close()


def test_a_file_and_its_folder_are_created(tmp_path: Path) -> None:
    asyncio.run(use(f"sqlite://{tmp_path}/a%20b/broker.db"))
    assert (tmp_path / "a b" / "broker.db").stat().st_mode & 0o777 == 0o600


def test_a_path_that_looks_mistyped_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadBrokerUrl, match=rf"create the folder {tmp_path}/nope, or name another"):
        asyncio.run(use(f"sqlite://{tmp_path}/nope/nope/broker.db"))
    assert list(tmp_path.iterdir()) == []


def test_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asyncio.run(use("sqlite:///:memory:"))
    assert list(tmp_path.iterdir()) == []


async def test_the_given_clock_is_used() -> None:
    now = [1000.0]
    broker = await SqliteBroker.open(":memory:", clocks=Clocks(lambda: 0.0, lambda: now[0], "boot"))
    await broker.publish("poll", b"x", delay=60)
    now[0] = 1059.9
    assert (await broker.backlog("poll", "workers")).delayed == 1
    now[0] = 1075.0
    backlog = await broker.backlog("poll", "workers")
    assert (backlog.ready, backlog.delayed, backlog.oldest_age) == (1, 0, 15.0)
    await broker.close()


def test_importing_the_package_imports_no_adapter() -> None:
    program = "import sys, transport; sys.exit(any('sqlite' in name or 'pulsar' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
