"""A pump's file shows whether it takes work."""

from __future__ import annotations

import asyncio
import io
import os
import time
from pathlib import Path

import pytest

from consumers.runners.health import check_health_file, is_healthy, watch_health
from runtime.errors import BadSettings
from telemetry import logs
from tests.support.forked import run_console
from tests.support.patience import PATIENCE_S


class Link:
    connected = True


def test_a_file_is_healthy_while_it_is_young(tmp_path: Path) -> None:
    path = tmp_path / "health"
    assert not is_healthy(path)
    path.touch()
    assert is_healthy(path)
    old = time.time() - 30
    os.utime(path, (old, old))
    assert not is_healthy(path)
    assert is_healthy(path, oldest=60)


async def test_it_is_touched_while_every_consumer_is_connected_and_not_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.runners.health.EVERY_S", 0.02)
    path, links = tmp_path / "health", [Link(), Link()]
    links[1].connected = False
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(watch_health(str(path), links))  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
        assert not await asyncio.to_thread(path.exists)
        links[1].connected = True
        while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)
        watch.cancel()


async def test_without_a_file_there_is_nothing_to_do() -> None:
    watch = asyncio.create_task(watch_health("", []))
    await asyncio.wait({watch}, timeout=PATIENCE_S)
    assert watch.done()
    await watch


def test_the_command_tells_by_its_exit_status(tmp_path: Path) -> None:
    def healthy(*arguments: str) -> tuple[int, str]:
        status, _, reported = run_console(["healthy", *arguments], tmp_path, {"PATH": os.environ["PATH"]})
        return status, reported

    path = tmp_path / "health"
    status, reported = healthy("--file", str(path))
    assert (status, "takes no messages" in reported) == (1, True)
    path.touch()
    assert healthy("--file", str(path))[0] == 0
    assert healthy()[0] == 2
    status, reported = healthy("--file", str(tmp_path))
    assert (status, "is a folder" in reported) == (2, True)


def test_a_folder_is_never_healthy(tmp_path: Path) -> None:
    assert not is_healthy(tmp_path)


@pytest.mark.parametrize("name", ["file/below", "gone/below", "folder"])
def test_a_file_that_cannot_be_touched_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadSettings, match=f"HEALTH_FILE {tmp_path / name} cannot be written"):
        check_health_file(str(tmp_path / name))


def test_looking_whether_it_can_be_touched_does_not_touch_it(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.touch()
    os.utime(old, (1000, 1000))
    for path in (new, old):
        check_health_file(str(path))
    check_health_file("")
    assert (new.exists(), old.stat().st_mtime) == (False, 1000)


async def test_that_it_cannot_be_touched_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []
    reported = io.StringIO()

    async def soon(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 3:
            raise asyncio.CancelledError

    logs.setup(reported, "INFO", "test")
    monkeypatch.setattr("consumers.runners.health.asyncio.sleep", soon)
    with pytest.raises(asyncio.CancelledError):
        await watch_health(str(tmp_path / "gone/file"), [])
    assert (len(tries), reported.getvalue().count("health.file_unwritable")) == (3, 1)
