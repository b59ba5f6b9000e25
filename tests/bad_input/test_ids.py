"""Invented ids: whatever a key looks like, it is refused or ignored, and nothing is written elsewhere."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from messages.keys import RunId
from producer.cos_trigger import take_event
from telemetry import logs
from tests.bad_input import pictures
from tests.bad_input.harness import TicketHarness, event, record
from tests.engine.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable

BAD_IDS = {
    "a step up": "..",
    "a dot": ".",
    "a step up and down": "..%2Foutput",
    "encoded dots": "%2e%2e",
    "doubly encoded dots": "%252e%252e",
    "an encoded slash": "u1%2F..",
    "a backslash": "..\\u2",
    "a space": "u 1",
    "a plus": "u+1",
    "only spaces": "   ",
    "nothing": "",
    "Chinese": "用户",
    "letters that look alike": "u\u0430",
    "digits of another script": "١٢٣",
    "a surrogate": "u\ud800",
    "no width": "u\u200b1",
    "right to left": "u\u202e1",
    "65 letters": "u" * 65,
    "very many letters": "u" * 5000,
    "a dash alone": "-",
    "a line end": "u\n",
    "an encoded line end": "u%0A",
    "NUL": "u\0",
    "an encoded NUL": "u%00",
    "half an encoding": "u%2",
    "no encoding": "u%zz",
    "an encoding of no text": "u%ff",
    "a quote": "u'--",
    "markup": "<u>",
    "a formula": "=1+1",
}


@pytest.fixture
def reported() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Lines of the log."""
    stream = io.StringIO()
    undo = logs.setup(stream, "INFO", "test")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    undo()


@pytest.mark.parametrize("name", BAD_IDS)
async def test_an_id_that_is_none_is_refused_or_ignored_with_a_line_in_the_log(
    harness: TicketHarness, name: str, reported: Callable[[], list[dict[str, Any]]]
) -> None:
    bad = BAD_IDS[name]
    keys = [f"input/{bad}/t1/original.jpg", f"input/u1/{bad}/original.jpg", f"input/u1/{bad}/task.json"]
    spelled = [*keys, *(quote(key, errors="surrogatepass") for key in keys)]
    spelled += [quote(key, safe="", errors="surrogatepass") for key in keys]
    for key in spelled:
        before = len(reported())
        counts = await harness.deliver(key)
        assert sum(counts.values()) == 1
        assert set(counts) <= {"rejected", "ignored"}
        (line,) = reported()[before:]
        assert line["event"] in {"object.rejected", "object.ignored"}
    await harness.untouched()


@pytest.mark.parametrize(
    "key",
    [
        "input/u1/t1/../../../output/u1/t1/original.jpg",
        "input/../ledger/u1/original.jpg",
        "/input/u1/t1/original.jpg",
        "//input/u1/t1/original.jpg",
        "input//t1/original.jpg",
        "input/u1//original.jpg",
        "input/u1/t1//original.jpg",
        "INPUT/u1/t1/original.jpg",
        "input/u1/t1/original.JPG",
        "input/u1/t1/original.jpg/",
        "input/u1/t1/original.jpg\n",
        "input/u1/t1/original.jpg%00",
        "input/u1/t1/original.jpg?x=1",
        "input/u1/t1/original.gif",
        "input/u1/t1/task.json5",
        "input/u1/t1/%2e%2e/original.jpg",
        "input/u1",
        "input/",
        "",
        "%",
        "%25" * 300,
    ],
)
async def test_a_key_that_is_no_input_is_refused_or_ignored(harness: TicketHarness, key: str) -> None:
    assert set(await harness.deliver(key)) <= {"rejected", "ignored"}
    await harness.untouched()


async def test_ids_as_long_and_as_odd_as_they_may_be_are_taken(harness: TicketHarness) -> None:
    for task in ("t" * 64, "_", "0", "A-b_9", "__proto__", "null"):
        run = harness.sell(task=task)
        meta = {"kind": "basic_clean", "ticket": harness.ticket(run)}
        await harness.deliver(await harness.put(run, "original.jpg", pictures.jpeg(), meta))
        await harness.promise(run, "success")


async def test_a_key_spelled_differently_is_the_same_task(harness: TicketHarness) -> None:
    run = harness.sell()
    meta = {"kind": "basic_clean", "ticket": harness.ticket(run)}
    key = await harness.put(run, "original.jpg", pictures.jpeg(), meta)
    spellings = [key, quote(key, safe=""), key.replace("sold", "%73old"), key.replace("/original", "%2Foriginal")]
    counts = await take_event(event(*spellings), harness.out)
    assert (counts["accepted"], counts["again"]) == (1, 3)
    await harness.drain()
    await harness.promise(run, "success")


async def test_an_upload_in_the_name_of_another_user_is_worth_nothing(harness: TicketHarness) -> None:
    """The ticket names user and task: it is refused in another user's folder, and the owner's task is unchanged."""
    own = harness.sell()
    stranger = RunId("u2", own.task)
    meta = {"kind": "basic_clean", "ticket": harness.ticket(own)}
    assert await harness.deliver(await harness.put(stranger, "original.jpg", pictures.jpeg(), meta)) == {"rejected": 1}
    assert await harness.ledger.verdict(stranger) is None
    assert await harness.ledger.verdict(own) is None
    assert await harness.keys("output/") == []


@pytest.mark.parametrize("meta", [{}, {"kind": "basic_clean", "ticket": "forged"}])
async def test_an_upload_in_a_strangers_folder_fails_nobodys_task(harness: TicketHarness, meta: dict[str, str]) -> None:
    """A callback names only the task, so a verdict for the other user would refund the owner's task."""
    own = harness.sell("model_pose12")
    sold = {"kind": "model_pose12", "ticket": harness.ticket(own, "model_pose12")}
    key = await harness.put(own, "original.jpg", pictures.jpeg(), sold)
    await take_event(event(key), harness.out)
    await harness.pass_by("collect")
    strange = await harness.put(RunId("evil", own.task), "original.jpg", b"x", meta)
    assert await harness.deliver(strange) == {"rejected": 1}
    await harness.promise(own, "success")
    assert harness.heard(own) == ["success"]


TEXTS = st.text(max_size=12) | st.sampled_from(["..", "%2e%2e", "%2F", "u1", "t1", "-", "%00", "\x00", "original.jpg"])
KEYS = st.text(max_size=60) | st.lists(TEXTS, max_size=6).map("/".join).map("input/{}".format)
SAFE = re.compile(r"(?:ledger|index)/[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_/-]+\Z")


@settings(max_examples=80, deadline=None)
@given(keys=st.lists(KEYS, min_size=1, max_size=3))
@example(keys=["input/u1/t1/original.jpg", "input/../../original.jpg"])
def test_whatever_keys_come_nothing_breaks_and_nothing_lies_where_it_should_not(keys: list[str]) -> None:
    async def play() -> None:
        async with TicketHarness() as harness:
            counts = await take_event({"Records": [record(key) for key in keys]}, harness.out)
            assert sum(counts.values()) == len(keys)
            assert await harness.keys("") == []
            for item in (await harness.ledger.objects.list("")).items:
                assert SAFE.match(item.key)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())
