"""A worker takes no messages if its store overwrites objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from consumers.runners import worker
from consumers.runners.worker import check_store
from runtime.errors import BadSettings
from runtime.settings import load_settings
from services.errors import Exists, ObjectsDown
from services.objects.port import ObjectInfo
from tasks.context import Services
from tests.engine.fault_injector import raises
from tests.engine.harness import Harness


async def test_a_create_only_store_is_worked_on_and_left_as_it_was(harness: Harness) -> None:
    await check_store(harness.ledger)
    assert not (await harness.ledger.objects.list("")).items


def overwrite(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the ledger's store one that overwrites."""
    put = harness.ledger.objects.put

    async def put_new(key: str, body: bytes, **_: object) -> ObjectInfo:
        return await put(key, body)

    monkeypatch.setattr(harness.ledger.objects, "put_new", put_new)


async def test_a_store_that_overwrites_is_refused_with_the_variables_name(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite(harness, monkeypatch)
    with pytest.raises(BadSettings, match="LEDGER_BUCKET"):
        await check_store(harness.ledger)


async def test_a_worker_checks_its_store_before_it_takes_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Harness(topics=()) as harness:

        @asynccontextmanager
        async def opened(*_: object) -> AsyncGenerator[Services]:
            yield harness.out

        monkeypatch.setattr(worker, "open_services", opened)
        await harness.order("basic_clean")
        overwrite(harness, monkeypatch)
        with pytest.raises(BadSettings, match="LEDGER_BUCKET"):
            async with asyncio.timeout(60):
                await worker._work(load_settings({"ENVIRONMENT": "development"}), (), 1)
        assert len(harness.wire.open) == 1
        assert harness.injector.count("objects.process") == 0


async def test_a_store_that_takes_nothing_is_refused(harness: Harness) -> None:
    harness.injector.strike("ledger.put_new ledger/doctor/", *[raises(Exists("always"))] * 8)
    with pytest.raises(BadSettings, match="0 of 8"):
        await check_store(harness.ledger)


async def test_a_store_that_is_away_is_asked_until_it_answers(harness: Harness) -> None:
    harness.injector.strike("ledger.put_new ledger/doctor/", *[raises(ObjectsDown("away"))] * 17)
    before = harness.now()
    await check_store(harness.ledger)
    assert harness.now() - before >= 5


async def test_a_worker_that_may_delete_nothing_works_all_the_same(harness: Harness) -> None:
    harness.injector.strike("ledger.delete ledger/doctor/", raises(ObjectsDown("AccessDenied")))
    await check_store(harness.ledger)
