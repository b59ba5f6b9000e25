"""Streams of progress: every change once, resumed where it broke off, and no poll without a watcher."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from messages.keys import RunId
from producer.api.progress import events_of, is_same
from producer.api.watch import Watch, look
from services.errors import ObjectsDown
from tasks.ledger.records import Accepted, CallEnd, Cleaned, Intent, JobId, Product, SlotEnd
from tests.api.conftest import TASKS
from tests.api.histories import FAILED, accept, begin, deliver, end, succeed, wait
from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from producer.api.wire import ProgressEvent
    from tests.api.conftest import Door, Open

RUN = RunId("u1", "t1")


def _parsed(text: str) -> list[tuple[str, str, Any]]:
    """Every event: its id, its name and its document."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith((":", "retry")))
        if fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def _whole_life(here: Door) -> None:
    ledger = here.ledger
    await accept(ledger, RUN)
    await begin(ledger, RUN, "clean")
    await ledger.write(RUN, Cleaned.at(), Cleaned((Product("k", "e", 1, "jpg"),)))
    await begin(ledger, RUN, "generate")
    await ledger.write(RUN, Intent.at(1, 1), Intent("runninghub", 60.0))
    await ledger.write(RUN, JobId.at(1, 1), JobId("j1"))
    await begin(ledger, RUN, "collect")
    await succeed(ledger, RUN, "frame_01.jpg")
    await deliver(ledger, RUN)


async def _watched(here: Door) -> None:
    while not here.api.watch.polls:  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0)


async def test_a_stream_shows_every_stage_and_ends(door: Open) -> None:
    async with door() as here:
        await _whole_life(here)
        answer = await here.ask("GET", f"{TASKS}/t1/events")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        events = _parsed(answer.text)
        states = [(document["state"], document["stage"]) for _, name, document in events if name == "progress"]
        assert states[0] == ("queued", "clean")
        assert states[-1] == ("success", None)
        assert {"clean", "generate", "poll", "collect", "notify"} <= {stage for _, stage in states}
        assert events[-1][1] == "end"
        assert here.api.watch.polls == 0


async def test_a_stream_goes_on_after_the_last_event_that_was_received(door: Open) -> None:
    async with door() as here:
        await _whole_life(here)
        whole = _parsed((await here.ask("GET", f"{TASKS}/t1/events")).text)
        for cut in range(len(whole) - 1):
            headers = {"Last-Event-ID": whole[cut][0]}
            rest = _parsed((await here.ask("GET", f"{TASKS}/t1/events", headers=headers)).text)
            assert rest == whole[cut + 1 :]
        # An id of another run, or none of ours: the stream starts from the beginning.
        for last in ("7-1", "x", "0-x", "9" * 99):
            assert _parsed((await here.ask("GET", f"{TASKS}/t1/events", headers={"Last-Event-ID": last})).text) == whole


async def test_events_come_while_the_stream_is_open(door: Open) -> None:
    async with door() as here:
        run = await here.created()
        streaming = asyncio.create_task(here.ask("GET", f"{TASKS}/{run.task}/events"))
        await _watched(here)
        await begin(here.ledger, run)
        await end(here.ledger, run, FAILED)
        await deliver(here.ledger, run)
        events = _parsed((await streaming).text)
        assert [document["state"] for _, name, document in events if name == "end"] == ["failed"]
        assert events[-1][2]["error"]["code"] == "vendor_failed"
        # The remaining time is estimated while the task runs.
        assert events[0][2]["expectedSeconds"] >= 1
        assert events[-1][2]["expectedSeconds"] is None


async def test_progress_counts_the_slots_that_are_done(door: Open) -> None:
    async with door() as here:
        sold = Accepted("ai_image_generate", {}, (), created=here.ledger.now(), deadline=9e9, slots=3, enough=2)
        await here.ledger.write(RUN, Accepted.at(), sold)
        await here.ledger.write(RUN, SlotEnd.at(1), SlotEnd(good=True, n=1))
        assert (await here.ask("GET", f"{TASKS}/t1")).json()["progress"] == {"done": 1, "of": 3}
        await here.ledger.write(RUN, SlotEnd.at(2), SlotEnd(good=True, n=1))
        seen = await look(RUN, here.ledger)
        assert [one.event.progress.done for one in seen.events] == [0, 1, 2]


async def test_many_watchers_of_a_task_share_one_poll(door: Open) -> None:
    async with door(streams_of_user=200) as here:
        await accept(here.ledger, RUN)
        streams = [asyncio.create_task(here.ask("GET", f"{TASKS}/t1/events")) for _ in range(100)]
        await _watched(here)
        assert here.api.watch.polls == 1
        await end(here.ledger, RUN, FAILED)
        await deliver(here.ledger, RUN)
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*streams)
        assert {_parsed(answer.text)[-1][1] for answer in answers} == {"end"}
        assert here.api.watch.polls == 0


async def test_a_user_may_open_so_many_streams(door: Open) -> None:
    async with door(streams_of_user=1) as here:
        await accept(here.ledger, RUN)
        first = asyncio.create_task(here.ask("GET", f"{TASKS}/t1/events"))
        await _watched(here)
        second = await here.ask("GET", f"{TASKS}/t1/events")
        assert (second.status_code, second.json()["code"]) == (429, "too_many_requests")
        here.api.watch.close()
        await first
        await accept(here.ledger, RunId("u1", "t2"))
        # The process is ending: streams that begin now end at once.
        assert (await here.ask("GET", f"{TASKS}/t2/events")).status_code == 200


async def test_streams_that_are_opened_together_are_counted_too(door: Open) -> None:
    async with door(streams_of_user=2) as here:
        await accept(here.ledger, RUN)
        asking = [asyncio.create_task(here.ask("GET", f"{TASKS}/t1/events")) for _ in range(5)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
        await _watched(here)
        here.api.watch.close()
        statuses = sorted([answer.status_code for answer in await asyncio.gather(*asking)])
        assert statuses == [200, 200, 429, 429, 429]
        # An end gives the place back, and so does an answer that is no stream.
        for path, status in (("t2", 404), ("t1", 200), ("t2", 404), ("t1", 200)):
            assert (await here.ask("GET", f"{TASKS}/{path}/events")).status_code == status


async def test_a_head_request_opens_no_stream(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        async with asyncio.timeout(PATIENCE_S):
            answer = await here.ask("HEAD", f"{TASKS}/t1/events")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert here.api.watch.polls == 0


async def test_a_stream_says_like_the_status_that_the_upload_is_awaited(door: Open) -> None:
    async with door() as here:
        asked = {"kind": "basic_clean", "extensions": ["jpg"]}
        task = (await here.ask("POST", "/api/v1/ai-generation/uploads", json=asked)).json()["taskId"]
        here.api.watch.close()
        seen: Any = None
        # The process is ending, so the stream ends after what is known.
        for _, name, document in _parsed((await here.ask("GET", f"{TASKS}/{task}/events")).text):
            seen = (name, document["state"], document["waiting"])
        assert seen == ("progress", "queued", {"why": "upload", "until": None})


async def test_a_watcher_never_sees_less_than_has_been_seen(door: Open) -> None:
    async with door() as here:
        await accept(here.ledger, RUN)
        old = await look(RUN, here.ledger)
        async with here.api.watch.follow(RUN, old) as feed:
            await begin(here.ledger, RUN)
            new = await look(RUN, here.ledger)
            # The poll of the first watcher may be seconds behind what the second one has just looked at.
            feed.seen = old
            async with here.api.watch.follow(RUN, new) as same:
                assert (same is feed, feed.seen) == (True, new)
            feed.learn(old)
            assert feed.seen == new


async def test_without_streams_the_answer_names_the_way_to_wait(door: Open) -> None:
    async with door(streaming=False) as here:
        await accept(here.ledger, RUN)
        answer = await here.ask("GET", f"{TASKS}/t1/events")
        assert (answer.status_code, "?wait" in answer.json()["detail"]) == (501, True)


async def test_a_ledger_that_is_away_ends_no_stream(door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def away(operation: str, key: str, *, done: bool) -> None:
        if operation == "list":
            asked.set()
            raise ObjectsDown("away", retry_after=30)

    monkeypatch.setattr("producer.api.watch._SLOW_S", 0.01)
    async with door() as here:
        await accept(here.ledger, RUN)
        watch = Watch(here.ledger)
        async with watch.follow(RUN) as feed:
            here.records.faults = away
            async with asyncio.timeout(PATIENCE_S):
                await asked.wait()
            await asyncio.sleep(0.05)
            assert not feed.closed
            here.records.faults = None
            await end(here.ledger, RUN, FAILED)
            await deliver(here.ledger, RUN)
            async with asyncio.timeout(PATIENCE_S):
                while not feed.closed:
                    await feed.changed(1.0)


async def test_events_are_the_changes_of_the_state_alone(door: Open) -> None:
    async with door() as here:
        await _whole_life(here)
        await wait(here.ledger, RUN, "vendor_full", stage="generate", seq=3)
        await here.ledger.write(RUN, CallEnd.at(1, 9), CallEnd("not_accepted"))
        trail = (await here.ledger.trail(RUN))[0]
        events = [one.event for one in events_of(RUN, trail, {})]
        pairs: list[tuple[ProgressEvent, ProgressEvent]] = list(itertools.pairwise(events))
        assert not any(is_same(one, other) for one, other in pairs)
