"""A dead letter's error is in the ledger before it is published, in the letter, and in its record."""

from __future__ import annotations

from typing import Any

import pytest

from messages.bodies import Dead, Job, Stage
from messages.codec import decode
from messages.codes import Code
from messages.errors import Permanent
from services.vendors.port import JobState
from tasks.ledger.records import Stopped
from telemetry.redaction import register
from telemetry.secrets import Secret
from tests.engine.fault_injector import calls, raises
from tests.engine.harness import Harness
from tests.engine.standins import Plan

PLACE = "services.objects.memory"


async def letter_of(harness: Harness, error: Exception, place: str = "objects.process") -> dict[str, Any]:
    """The record of the dead letter of a run whose stage meets an error."""
    run = await harness.order("basic_clean")
    harness.injector.strike(place, *[raises(error)] * 50)
    await harness.drain()
    harness.injector.clear()
    await harness.promise(run, "failed", Code.INTERNAL)
    found = [letter for letter in await harness.dead_letters() if letter["task"] == run.task]
    assert len(found) == 1
    return found[0]


async def test_why_a_message_was_given_up_is_in_the_ledger_and_in_the_letter(harness: Harness) -> None:
    run = await harness.order("basic_clean")
    harness.injector.strike("objects.process", raises(Permanent("never:\nnot at all")))
    await harness.drain()
    stored = await harness.ledger.read(run, Stopped.at(Stage.CLEAN, 0))
    assert stored is not None
    stopped = stored.record
    assert (stopped.reason, stopped.code, stopped.error) == ("permanent", "internal", "Permanent")
    assert (stopped.detail, stopped.attempts) == ("never: not at all", 1)
    assert stopped.place.startswith(PLACE)
    (letter,) = await harness.dead_letters()
    assert (letter["detail"], letter["place"]) == (stopped.detail, stopped.place)


async def test_it_is_in_the_ledger_before_the_letter_is_published(harness: Harness) -> None:
    run = await harness.order("basic_clean")
    harness.injector.strike("objects.process", raises(Permanent("never")))
    seen: list[bool] = []

    async def look() -> None:
        seen.append("stopped-clean-0" in await harness.records(run))

    harness.injector.strike("broker.publish dead", calls(look))
    await harness.drain()
    assert seen == [True]


async def test_a_secret_in_an_error_does_not_travel(harness: Harness) -> None:
    register(Secret("planted-secret-of-a-dead-letter"))
    letter = await letter_of(
        harness, Permanent("key planted-secret-of-a-dead-letter at https://cdn.example/a?sign=abc")
    )
    assert "planted" not in str(letter)
    assert "sign=abc" not in str(letter)


async def test_one_error_in_two_places_is_two_groups_and_in_one_place_one(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise KeyError("mp4")

    first = await letter_of(harness, KeyError("mp4"))
    again = await letter_of(harness, KeyError("gif"))
    monkeypatch.setattr("consumers.stages.clean.audit_staged", refuse)
    elsewhere = await letter_of(harness, KeyError("mp4"), "nothing")
    assert elsewhere["place"] == "consumers.stages.clean._results"
    assert first["error"] == elsewhere["error"]
    assert first["stage"] == elsewhere["stage"]
    assert first["place"] != elsewhere["place"]
    assert first["fingerprint"] == again["fingerprint"] != elsewhere["fingerprint"]


@pytest.mark.parametrize("text", ["x" * 10_000, "图" * 10_000, '"\\' * 5_000])
async def test_a_letter_stays_small_whatever_its_error_says(harness: Harness, text: str) -> None:
    letter = await letter_of(harness, Permanent(text))
    assert len(letter["detail"]) <= 200
    sizes = [len(one.payload) for one in harness.wire.sent if isinstance(decode(one.payload).body, Dead)]
    assert max(sizes) < 2_500


async def test_a_poll_and_a_wake_that_see_the_same_bad_end_leave_one_letter(harness: Harness) -> None:
    harness.vendor.plans.append(Plan(end=JobState.FAILED, looks=0))
    run = await harness.order()
    held, consumer = await harness.until("poll")
    await harness.wake(run, "webhook", job=Job(1, "job1"))
    await harness.step()
    await harness.run(held, consumer)
    await harness.drain()
    await harness.promise(run, "failed", Code.VENDOR_FAILED)
    assert len(harness.sent("dead")) == 2
    assert len(await harness.dead_letters()) == 1
