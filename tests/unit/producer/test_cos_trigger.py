"""The COS trigger: every record of an event is tried, and the platform repeats the event for failed ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from messages.bodies import Stage
from messages.errors import ScfWorkersError
from messages.keys import RunId
from producer.cos_trigger import take_event
from services.errors import ObjectsDown
from tasks.ledger.records import Verdict
from transport.errors import BrokerDown, Closed

if TYPE_CHECKING:
    from tests.unit.producer.conftest import Harness, Open

Make = Callable[..., Mapping[str, Any]]
KEY = "input/u1/t1/original.jpg"


def counts(found: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in found.items() if count}


async def upload_of(harness: Harness, task: str) -> str:
    key = f"input/u1/{task}/original.jpg"
    await harness.upload(key, ticket=harness.ticket(task))
    return key


async def test_an_upload_becomes_a_task(harness: Open, event: Make) -> None:
    async with harness() as here:
        await here.upload()
        assert counts(await take_event(event(KEY), here.out)) == {"accepted": 1}
        (message,) = await here.sent()
        assert message.header.run_id == RunId("u1", "t1")


async def test_metadata_of_the_event_counts_for_nothing(harness: Open, event: Make) -> None:
    # The event has `x-cos-meta-kind` too; only what the store holds is believed.
    async with harness() as here:
        await here.upload(kind="basic_clean")
        assert counts(await take_event(event(KEY), here.out)) == {"accepted": 1}
        accepted = await here.accepted()
        assert accepted is not None
        assert accepted.kind == "basic_clean"


async def test_a_duplicate_event_publishes_again_until_there_is_a_verdict(harness: Open, event: Make) -> None:
    async with harness() as here:
        await here.upload()
        assert counts(await take_event(event(KEY, KEY), here.out)) == {"accepted": 1, "again": 1}
        assert counts(await take_event(event(KEY), here.out)) == {"again": 1}
        assert len(await here.sent()) == 3
        await here.out.ledger.write(RunId("u1", "t1"), Verdict.at(), Verdict("success"))
        assert counts(await take_event(event(KEY), here.out)) == {"ended": 1}
        assert await here.sent() == []


@pytest.mark.parametrize(
    "key",
    [
        "output/u1/t1/frame_01.jpg",
        "staging/u1/t1/0-0/n/frame_01.jpg",
        "source/u1/t1/original.jpg",
        "input/u1/t1/notes.txt",
        "input/u1/t1/second.jpg",
        "input/u1/t1/",
        "input/u1/t1/x/original.jpg",
        "original.jpg",
    ],
)
async def test_keys_that_start_no_task_are_ignored(harness: Open, event: Make, key: str) -> None:
    async with harness() as here:
        await here.data.put(key, b"x")
        assert counts(await take_event(event(key), here.out)) == {"ignored": 1}
        assert await here.sent() == []
        assert not (await here.records.list("")).items


async def test_another_bucket_is_ignored(harness: Open, event: Make) -> None:
    async with harness() as here:
        await here.upload()
        assert counts(await take_event(event(KEY, bucket="others"), here.out)) == {"ignored": 1}
        assert await here.sent() == []


async def test_removals_are_ignored(harness: Open, event: Make) -> None:
    async with harness() as here:
        await here.upload()
        assert counts(await take_event(event(KEY, name="cos:ObjectRemove:Delete"), here.out)) == {"ignored": 1}


@pytest.mark.parametrize("bad", ["..", "a b", "用户", "x" * 65, "-x", "a%00"])
async def test_ids_that_are_not_safe_are_refused_and_touch_nothing(harness: Open, event: Make, bad: str) -> None:
    async with harness() as here:
        for key in (f"input/{bad}/t1/original.jpg", f"input/u1/{bad}/task.json"):
            for spelled in (key, quote(key)):
                assert counts(await take_event(event(spelled), here.out)) == {"rejected": 1}
        assert await here.sent() == []
        assert not (await here.records.list("")).items


async def test_a_key_may_come_percent_encoded(harness: Open, event: Make) -> None:
    async with harness() as here:
        await here.upload()
        assert counts(await take_event(event(quote(KEY, safe="")), here.out)) == {"accepted": 1}
        assert counts(await take_event(event("input/u1/t%31/original.jpg"), here.out)) == {"again": 1}


async def test_every_record_is_tried_before_the_platform_is_asked_to_call_again(harness: Open, event: Make) -> None:
    async with harness() as here:
        keys = [await upload_of(here, task) for task in ("t1", "t2", "t3")]

        async def away(operation: str, key: str, *, done: bool) -> None:
            if key == keys[1]:
                raise ObjectsDown(key)

        here.break_("data", away)
        with pytest.raises(ObjectsDown):
            await take_event(event(*keys), here.out)
        assert {message.header.task for message in await here.sent()} == {"t1", "t3"}
        here.mend()
        assert counts(await take_event(event(*keys), here.out)) == {"again": 2, "accepted": 1}
        assert {message.header.task for message in await here.sent()} == {"t1", "t2", "t3"}


async def test_a_bad_record_does_not_stand_in_the_way_of_a_good_one(harness: Open, event: Make) -> None:
    async with harness() as here:
        good = await upload_of(here, "t2")
        await here.upload(ticket="forged")
        mixed = {"Records": [*event("input/../t1/original.jpg", KEY, "output/x", good)["Records"], None, {}]}
        assert counts(await take_event(mixed, here.out)) == {"rejected": 2, "ignored": 3, "accepted": 1}
        stages = {message.header.task: message.header.stage for message in await here.sent()}
        assert stages == {"t2": Stage.CLEAN}


@pytest.mark.parametrize("error", [BrokerDown, Closed])
async def test_a_message_that_was_not_published_is_published_by_the_next_call(
    harness: Open, event: Make, error: type[ScfWorkersError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness() as here:
        await here.upload()

        async def down(topic: str, payload: bytes, *, delay: float = 0.0) -> str:
            raise error(topic)

        with monkeypatch.context() as patch:
            patch.setattr(here.out.broker, "publish", down)
            with pytest.raises(error):
                await take_event(event(KEY), here.out)
        assert counts(await take_event(event(KEY), here.out)) == {"again": 1}
        assert [message.header.stage for message in await here.sent()] == [Stage.CLEAN]


async def test_an_event_without_records_does_nothing(harness: Open) -> None:
    async with harness() as here:
        for empty in ({}, {"Records": []}, {"Records": None}):
            assert counts(await take_event(empty, here.out)) == {}
