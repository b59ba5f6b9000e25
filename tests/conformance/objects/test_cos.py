"""Behaviour of a store over a network, on the stand-in that checks every signature."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandbox.cos.faults import Fault, FaultKind
from services.errors import Denied, ObjectsDown
from services.objects.cos import CosObjects, Credentials
from services.objects.port import PictureRule
from telemetry.secrets import Secret

MIB = 1 << 20


async def opened(objects: CosObjects, key: str) -> bytes:
    async with objects.open(key) as reading:
        return b"".join([piece async for piece in reading])


CALLS: list[Callable[[CosObjects, str], Awaitable[Any]]] = [
    lambda objects, key: objects.put(key, b"1"),
    lambda objects, key: objects.put_new(key, b"1"),
    lambda objects, key: objects.get(key),
    lambda objects, key: objects.head(key),
    lambda objects, key: objects.copy(key, f"{key}2"),
    lambda objects, key: objects.delete([key]),
    lambda objects, key: objects.delete([key, f"{key}2"]),
    lambda objects, key: objects.list(key),
    lambda objects, key: objects.process(key, [PictureRule(f"{key}2", "imageMogr2/strip")]),
    lambda objects, key: objects.audit([key]),
    lambda objects, key: objects.versioned(),
    opened,
]


def keys(name: str, key: str, token: str = "") -> Callable[[], Credentials]:
    return lambda: Credentials(Secret(name), Secret(key), Secret(token))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "credentials", [keys("AKIDlocal", "wrong"), keys("AKIDnobody", "key-local"), keys("AKIDsts", "key-sts", "old")]
)
async def test_whom_the_store_does_not_know_it_denies(cos_world: Any, call: Any, credentials: Any) -> None:
    with pytest.raises(Denied) as caught:
        await call(cos_world.open(credentials=credentials), cos_world.key("a"))
    for secret in ("wrong", "key-local", "key-sts"):
        assert secret not in str(caught.value)


async def test_a_bucket_that_is_not_ours_is_denied(cos_world: Any) -> None:
    for call in (CALLS[0], CALLS[2], CALLS[7]):
        with pytest.raises(Denied, match="NoSuchBucket"):
            await call(cos_world.open(bucket="others-1250000000"), cos_world.key("a"))


async def test_a_role_signs_with_its_token(cos_world: Any, photo: bytes) -> None:
    objects = cos_world.open(credentials=keys("AKIDsts", "key-sts", "token/of+a=role"))
    key, small = cos_world.key("输入/a b.jpg"), cos_world.key("b")
    await objects.put(key, photo)
    await objects.process(key, [PictureRule(small, "imageMogr2/thumbnail/32x")])
    assert not (await objects.audit([small]))[0].result.violation
    assert await cos_world.visit(await objects.presign(key, expires=60)) == photo
    await objects.delete([key, small])


async def test_credentials_may_change_between_two_calls(cos_world: Any) -> None:
    now = keys("AKIDlocal", "key-local")

    def credentials() -> Credentials:
        return now()

    objects, key = cos_world.open(credentials=credentials), cos_world.key("a")
    await objects.put(key, b"1")
    now = keys("AKIDsts", "key-sts", "ended")
    with pytest.raises(Denied):
        await objects.get(key)
    now = keys("AKIDsts", "key-sts", "token/of+a=role")
    assert (await objects.get(key)).body == b"1"
    assert await cos_world.visit(await objects.presign(key, expires=60)) == b"1"
    now = keys("AKIDlocal", "key-local")
    assert (await objects.get(key)).body == b"1"


@pytest.mark.parametrize("call", CALLS)
async def test_a_store_that_is_down_says_so_at_once(cos_world: Any, call: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        objects = cos_world.open(endpoint=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(ObjectsDown):
            await call(objects, "a")
    assert time.monotonic() - started < 2


async def test_a_store_that_is_down_stops_an_upload_at_once(cos_world: Any, streamed: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        objects = cos_world.open(endpoint=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(ObjectsDown):
            await objects.put("a", streamed([b"x" * MIB] * 64))


async def test_a_store_that_does_not_answer_is_down(cos_world: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        objects = cos_world.open(endpoint=f"http://127.0.0.1:{mute.getsockname()[1]}", timeout=0.2)
        with pytest.raises(ObjectsDown, match=r"get 'a' at 127\.0\.0\.1:\d+: no answer in time"):
            await objects.get("a")


async def test_a_store_that_is_overloaded_is_not_asked_again(cos_world: Any) -> None:
    key = cos_world.key("a")
    cos_world.service.faults.arm(Fault(FaultKind.UNAVAILABLE, method="PUT", key=key))
    with pytest.raises(ObjectsDown, match="503 ServiceUnavailable"):
        await cos_world.objects.put(key, b"1")
    await cos_world.objects.put(key, b"1")


async def test_the_pool_carries_more_calls_than_it_has_threads(cos_world: Any, caplog: Any) -> None:
    caplog.set_level(logging.WARNING, logger="urllib3")
    objects = cos_world.open(pool=4)
    names = [cos_world.key(str(number)) for number in range(40)]
    await asyncio.gather(*(objects.put(name, name.encode()) for name in names))
    assert await asyncio.gather(*(opened(objects, name) for name in names)) == [name.encode() for name in names]
    assert caplog.text == ""


async def test_bodies_of_64_mib_pass_through_a_few(cos_world: Any, streamed: Any) -> None:
    key, piece = cos_world.key("a"), os.urandom(MIB)
    await cos_world.objects.put(key, b"")  # modules that are loaded late are loaded now
    gc.collect()
    tracemalloc.start()
    try:
        await cos_world.objects.put(key, streamed([piece] * 64))
        up = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        async with cos_world.objects.open(key) as reading:
            sizes = [len(part) async for part in reading]
        down = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 64 * MIB
    # The stand-in lives in this process, so its buffers count too.
    assert up < 16 * MIB
    assert down < 16 * MIB
