"""Telemetry of whole tasks: one trace from the event to the callback, and every metric on the way."""

from __future__ import annotations

import asyncio

import httpx
import msgspec

from messages.bodies import Stage, Wake
from messages.keys import RunId
from services.errors import ResultUnusable, VendorDown
from services.vendors.port import JobState
from telemetry import tracing
from telemetry.instruments import Metric
from telemetry.tracing import Finished
from tests.engine.fault_injector import raises
from tests.engine.standins import Create, Plan
from tests.telemetry.kept import Kept, TelemetryHarness, play

WAKER = "00-11f7651916cd43dd8448eb211c80319c-22ad6b7169203331-01"


async def buy(harness: TelemetryHarness, kind: str = "model_pose12") -> RunId:
    run = await harness.upload(kind)
    await harness.deliver(f"input/{run.user}/{run.task}/original.jpg")
    await harness.drain()
    return run


async def success(harness: TelemetryHarness) -> None:
    await buy(harness)


def tree(kept: Kept) -> Finished:
    """Return the root, after a check that every span descends from it."""
    assert len({span.trace_id for span in kept.spans}) == 1
    ids = {span.span_id for span in kept.spans}
    assert len(ids) == len(kept.spans)
    (root,) = [span for span in kept.spans if span.parent_id not in ids]
    return root


def test_one_trace_from_the_event_to_the_callback() -> None:
    kept = play(success)
    root = tree(kept)
    assert root.name == "handle producer.cos_trigger"
    assert root.parent_id == ""
    names = kept.above(kept.one("callback"))
    polls = len(kept.named("consume poll"))
    assert polls >= 2
    assert names == [
        "callback",
        "consume collect",
        *["consume poll"] * polls,
        "consume generate",
        "consume clean",
        "intake",
        "handle producer.cos_trigger",
    ]
    functions = [span.attributes["function"] for span in kept.spans if "function" in span.attributes]
    assert set(functions) == {
        "producer.cos_trigger",
        "consumers.clean",
        "consumers.generate",
        "consumers.poll",
        "consumers.collect",
    }
    assert not any(span.failed for span in kept.spans)


def test_calls_to_the_outside_are_told_where_they_are_made() -> None:
    kept = play(success)
    assert {span.name: kept.above(span)[1] for span in kept.spans if span.kind == "client"} == {
        "process": "consume clean",
        "vendor room": "consume generate",
        "vendor upload": "consume generate",
        "vendor create": "consume generate",
        "vendor query": "consume collect",
        "download": "consume collect",
        "audit": "consume collect",  # the later of two
        "verdict": "consume collect",
        "promote": "consume collect",
        "callback": "consume collect",
    }
    assert len(kept.named("download")) == 12
    assert [kept.above(span)[1] for span in kept.named("audit")] == ["consume clean", "consume collect"]
    assert kept.one("callback").attributes == {"status": "success", "result": "delivered", "http_status": 200}


def test_the_metrics_of_a_success() -> None:
    kept = play(success)
    polls = len(kept.named("consume poll"))
    assert kept.total(Metric.TASKS_ACCEPTED, kind="model_pose12") == 1
    assert kept.total(Metric.VERDICTS, kind="model_pose12", status="success") == kept.total(Metric.VERDICTS) == 1
    assert kept.total(Metric.MESSAGES_RECEIVED) == kept.total(Metric.MESSAGES_DONE) == 3 + polls
    assert kept.total(Metric.MESSAGES_RECEIVED, stage="poll", kind="model_pose12") == polls
    assert kept.total(Metric.MESSAGES_DONE, stage="poll", outcome="snooze") == polls - 1
    assert kept.total(Metric.MESSAGES_DONE, stage="collect", outcome="done") == 1
    assert len(kept.values[Metric.STAGE_DURATION]) == len(kept.values[Metric.QUEUE_DELAY]) == 3 + polls
    assert min(kept.values[Metric.QUEUE_DELAY]) >= 0
    assert kept.total(Metric.VENDOR_CALLS, call="create", outcome="ok") == 1
    assert kept.total(Metric.VENDOR_CALLS, call="query", outcome="working") == 1
    assert kept.total(Metric.VENDOR_CALLS, call="query", outcome="success") == polls
    assert kept.total(Metric.CALLBACKS, result="delivered") == kept.total(Metric.CALLBACKS) == 1
    for metric in (Metric.ATTEMPTS_SPENT, Metric.DEAD_LETTERS, Metric.PAID_UNKNOWN):
        assert kept.total(metric) == 0


def test_every_line_about_a_message_names_its_trace() -> None:
    kept = play(success)
    trace = tree(kept).trace_id
    about = [line for line in kept.lines if "task_id" in line]
    assert len(about) > 10
    assert {line["trace_id"] for line in about} == {trace}
    spans = {span.span_id for span in kept.spans}
    assert {line["span_id"] for line in about} <= spans


def test_several_uploads_of_one_event_have_a_trace_each_linked_to_the_call() -> None:
    runs: list[RunId] = []

    async def story(harness: TelemetryHarness) -> None:
        runs.extend([await harness.upload("basic_clean") for _ in range(3)])
        counts = await harness.deliver(*(f"input/{run.user}/{run.task}/original.jpg" for run in runs))
        assert counts["accepted"] == 3
        await harness.drain()

    kept = play(story)
    call = kept.one("handle producer.cos_trigger")
    intakes = kept.named("intake")
    assert len({span.trace_id for span in intakes} | {call.trace_id}) == 4
    assert {tracing.span_id(span.link) for span in intakes} == {call.span_id}
    for run in runs:
        (intake,) = [span for span in intakes if span.attributes["task_id"] == run.task]
        (clean,) = [span for span in kept.named("consume clean") if span.attributes["task_id"] == run.task]
        assert (clean.trace_id, clean.parent_id) == (intake.trace_id, intake.span_id)


def test_an_event_that_comes_again_goes_on_in_the_runs_trace() -> None:
    async def story(harness: TelemetryHarness) -> None:
        run = await harness.upload("basic_clean")
        key = f"input/{run.user}/{run.task}/original.jpg"
        await harness.deliver(key)
        assert (await harness.deliver(key))["again"] == 1
        await harness.drain()

    kept = play(story)
    first, second = kept.named("intake")
    assert first.trace_id == second.trace_id
    assert tracing.trace_id(second.link) == kept.named("handle producer.cos_trigger")[1].trace_id != first.trace_id
    assert second.parent_id == first.span_id
    # The work on the republished message is below the call that published it.
    assert {span.parent_id for span in kept.named("consume clean")} == {first.span_id, second.span_id}


def test_a_wake_is_linked_and_the_runs_own_trace_goes_on() -> None:
    async def story(harness: TelemetryHarness) -> None:
        run = await harness.order()
        await harness.pass_by("poll")
        await harness.say(run, Stage.WAKE, Wake("webhook"), traceparent=WAKER)
        await harness.drain()

    kept = play(story)
    wake, woken = kept.one("consume wake"), kept.one("woken")
    assert (wake.trace_id, wake.parent_id) == (tracing.trace_id(WAKER), tracing.span_id(WAKER))
    assert tracing.span_id(woken.link) == wake.span_id
    assert woken.trace_id == kept.named("consume clean")[0].trace_id != wake.trace_id
    assert woken.parent_id == kept.one("intake").span_id
    assert {span.trace_id for span in kept.named("callback")} == {woken.trace_id}


def test_what_a_wake_finishes_is_told_in_the_runs_trace() -> None:
    async def story(harness: TelemetryHarness) -> None:
        run = await harness.order()
        await harness.until("poll")
        await asyncio.sleep(86400)
        await harness.say(run, Stage.WAKE, Wake("sweep"), traceparent=WAKER)
        await harness.step()
        await harness.step()

    kept = play(story)
    woken = kept.one("woken")
    assert kept.one("verdict").parent_id == woken.span_id
    assert kept.above(kept.one("callback")) == ["callback", "consume notify", "woken", "intake"]
    assert kept.total(Metric.VERDICTS, kind="model_pose12", status="failed") == 1


def test_a_task_nobody_accepted_begins_its_trace_with_the_wake_that_found_it() -> None:
    async def story(harness: TelemetryHarness) -> None:
        run = await harness.upload("basic_clean")
        await harness.say(run, Stage.WAKE, Wake("sweep"), number=-1, traceparent=WAKER)
        await harness.drain()

    kept = play(story)
    woken = kept.one("woken")
    assert woken.parent_id == ""
    assert tracing.span_id(woken.link) == kept.one("consume wake").span_id
    assert kept.above(kept.one("callback")) == ["callback", "consume clean", "intake", "woken"]


def test_a_failed_job_goes_to_the_dead_letters_in_the_same_trace() -> None:
    async def story(harness: TelemetryHarness) -> None:
        harness.vendor.plans.append(Plan(end=JobState.FAILED))
        await buy(harness)

    kept = play(story)
    tree(kept)
    assert kept.above(kept.one("callback"))[:3] == ["callback", "consume dead", "consume poll"]
    assert kept.total(Metric.DEAD_LETTERS, stage="poll", reason="vendor") == 1
    assert kept.total(Metric.VERDICTS, status="failed") == 1
    assert kept.total(Metric.MESSAGES_DONE, stage="dead", outcome="fail") == 1


def test_a_text_is_counted_by_its_source_and_its_cache_by_hits() -> None:
    async def story(harness: TelemetryHarness) -> None:
        for _ in range(3):
            await buy(harness, "ai_image_prompt")

    kept = play(story)
    found = {
        outcome: kept.total(Metric.PROMPT_CACHE, kind="ai_image_prompt", outcome=outcome) for outcome in ("hit", "miss")
    }
    assert found == {"hit": 2, "miss": 1}
    sources = {source: kept.total(Metric.PROMPTS, source=source) for source in ("model", "cache", "template")}
    assert sources == {"model": 1, "cache": 2, "template": 0}


def test_attempts_and_errors_are_told() -> None:
    async def story(harness: TelemetryHarness) -> None:
        harness.injector.strike("files.get", raises(ResultUnusable("HTTP 400")))
        await buy(harness)

    kept = play(story)
    tree(kept)
    assert kept.total(Metric.ATTEMPTS_SPENT, stage="collect", why="error") == 1
    first, second = kept.named("consume collect")
    assert first.failed
    assert (first.attributes["error_type"], first.attributes["outcome"]) == ("ResultUnusable", "retry")
    assert (second.failed, second.attributes["attempt"]) == (False, 1)
    assert second.parent_id == first.span_id


def test_an_unknown_outcome_of_a_paid_call_is_counted() -> None:
    async def story(harness: TelemetryHarness) -> None:
        harness.vendor.creates.append(Create(accepted=False, answer="lost"))
        await buy(harness)

    kept = play(story)
    assert kept.total(Metric.PAID_UNKNOWN, vendor="runninghub") == 1
    assert kept.total(Metric.VENDOR_CALLS, call="create", outcome="unknown") == 1
    assert kept.total(Metric.DEAD_LETTERS, reason="unknown") == 1


def test_a_vendor_that_is_full_or_away_is_counted() -> None:
    async def story(harness: TelemetryHarness) -> None:
        harness.vendor.full = 2
        harness.injector.strike("vendor.query", raises(VendorDown("502")))
        await buy(harness)

    kept = play(story)
    assert kept.total(Metric.VENDOR_CALLS, call="room", outcome="full") == 2
    assert kept.total(Metric.VENDOR_CALLS, call="query", outcome="down") == 1
    assert [span.failed for span in kept.named("vendor room")] == [True, True, False]


def test_callbacks_are_counted_by_their_result() -> None:
    async def story(harness: TelemetryHarness) -> None:
        bad = iter([httpx.Response(500), httpx.Response(403), httpx.ConnectError("away")])

        def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                return httpx.Response(404)  # a backend without the question about a task's state
            this = next(bad, httpx.Response(409, content=msgspec.json.encode({"status": "failed"})))
            if isinstance(this, Exception):
                raise this
            return this

        harness.answers = answer
        await buy(harness, "basic_clean")

    kept = play(story)
    counted = {result: kept.total(Metric.CALLBACKS, result=result) for result in ("failed", "refused", "conflict")}
    assert counted == {"failed": 2, "refused": 1, "conflict": 1}
    assert [line["level"] for line in kept.lines if line["event"] == "callback.refused"] == ["ERROR"]
    tree(kept)


def test_unreadable_messages_are_counted() -> None:
    async def story(harness: TelemetryHarness) -> None:
        await harness.wire.publish("poll", b"not a message")
        await harness.drain()

    kept = play(story)
    assert kept.total(Metric.DEAD_LETTERS, stage="unreadable", reason="unreadable") == 1


def test_no_planted_secret_is_in_a_span_or_a_line() -> None:
    async def story(harness: TelemetryHarness) -> None:
        harness.injector.strike(
            "vendor.query", raises(VendorDown("https://h/x?key=planted-in-url Authorization: Bearer planted-bearer"))
        )
        await buy(harness)

    kept = play(story)
    reported = msgspec.json.encode([dict(span.attributes) for span in kept.spans]) + msgspec.json.encode(kept.lines)
    assert b"VendorDown" in reported
    assert b"planted" not in reported
