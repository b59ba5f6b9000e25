"""A client writes every file below the folder that the user named, whatever name a store or a backend gives it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from console.cli.client import Client, OutsideFolder, Sold, inside
from messages.errors import InvalidKey
from services.objects.memory import MemoryObjects


def downloaded(tmp_path: Path, key: str) -> list[Path]:
    return asyncio.run(_downloaded(tmp_path, key))


async def _downloaded(tmp_path: Path, key: str) -> list[Path]:
    objects = MemoryObjects(bucket="photos-1250000000", clock=lambda: 1.0)
    await objects.put(f"output/u-1/t-1/{key}", b"planted")
    client = Client("http://127.0.0.1:9", objects, objects)
    try:
        return await client.download(Sold("t-1", "u-1", "basic_clean", "", {}), tmp_path / "out")
    finally:
        await client.close()


def test_a_result_is_written_below_its_task(tmp_path: Path) -> None:
    assert downloaded(tmp_path, "frame_01.jpg") == [tmp_path / "out/t-1/frame_01.jpg"]
    assert (tmp_path / "out/t-1/frame_01.jpg").read_bytes() == b"planted"


@pytest.mark.parametrize("key", ["../../evil", "a/../../../evil", "/evil", "//evil"])
def test_a_key_that_leads_outside_writes_nothing(tmp_path: Path, key: str) -> None:
    with pytest.raises(OutsideFolder, match="outside"):
        downloaded(tmp_path, key.replace("/evil", f"{tmp_path}/evil") if key.startswith("/") else key)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", ["t-1", "t-1/frame_01.jpg"])
def test_a_link_that_lies_in_the_folder_is_not_followed_outside(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "out" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if name == "t-1" else outside / "frame_01.jpg")
    with pytest.raises(OutsideFolder):
        downloaded(tmp_path, "frame_01.jpg")
    assert list(outside.iterdir()) == []


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert inside(tmp_path / "out", Path("a.jpg")) == tmp_path / "out/a.jpg"


@pytest.mark.parametrize("task", ["../../evil", "/evil", "a/b", "..", ""])
def test_a_task_whose_id_could_name_another_folder_is_not_bought(task: str) -> None:
    async def buy() -> None:
        objects = MemoryObjects(bucket="photos-1250000000", clock=lambda: 1.0)
        client = Client("http://127.0.0.1:9", objects, objects)
        answer = httpx.Response(201, json={"task_id": task, "ticket": "a.b.c"})
        client._http = httpx.AsyncClient(base_url="http://b", transport=httpx.MockTransport(lambda _: answer))
        try:
            await client.buy("u-1", "basic_clean", {})
        finally:
            await client.close()

    with pytest.raises(InvalidKey):
        asyncio.run(buy())
