"""Whole runs, good and bad: nothing that is logged, traced, measured, kept or sent has a secret in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

import httpx
import pytest

from messages.codes import Code
from messages.keys import RunId
from producer.cos_trigger import take_event
from producer.webhook import take_call
from services.errors import ObjectsDown
from services.objects.port import Result
from telemetry.secrets import Secret
from tests.bad_input import pictures
from tests.bad_input.harness import event
from tests.engine.fault_injector import calls, raises
from tests.engine.virtual import VirtualLoop
from tests.secrets.emitted import Emitted
from tests.secrets.plants import ENVIRONMENT, Plants
from tests.secrets.services import JOB, SIGNED, Harness, broken, coded, results, status


class Story(NamedTuple):
    """The course of a run, and its end."""

    prepare: Callable[[Harness], None]
    code: str = ""
    """Empty for a success."""
    kind: str = "model_pose12"
    body: Callable[[], bytes] = pictures.jpeg
    event: str = ""
    """One that must be in the log: what this story is about has happened."""


def defect() -> Exception:
    """An error outside our exception trees, with everything in its text and in its cause."""
    hook = f"/webhook/runninghub/u1/t1/0/0/1/{'0a' * 32}"
    error = RuntimeError(f"could not sign {dict(ENVIRONMENT)} for https://x.example/a?sign={SIGNED} and {hook}")
    error.__cause__ = ConnectionError(f"GET /?q-signature=0123456789abcdef HTTP/1.1, Authorization: {ENVIRONMENT}")
    return error


def store_down() -> Exception:
    error = ObjectsDown("put: no answer")
    error.__cause__ = OSError(f"https://b.cos.ap-x.myqcloud.com/a?q-signature=0123456789abcdef {ENVIRONMENT}")
    return error


def violation(harness: Harness) -> None:
    harness.findings["frame_07.jpg"] = Result(violation=True, suspect=False, label="Porn", score=99)


TRANSPORT: Final = (httpx.ReadError, httpx.RemoteProtocolError, httpx.LocalProtocolError, httpx.ReadTimeout)

STORIES: Final[Mapping[str, Story]] = {
    "all is well": Story(lambda _: None),
    "all is well without a vendor": Story(lambda _: None, kind="basic_clean"),
    "no picture": Story(lambda _: None, Code.BAD_PICTURE, body=lambda: pictures.TEXT, event="stage.failed"),
    "the audit": Story(violation, Code.CONTENT_VIOLATION),
    "no room": Story(lambda w: w.vendor_site.order("queue", status(403), *[status(500)] * 3), event="stage.failed"),
    "uploads fail": Story(
        lambda w: w.vendor_site.order("upload", status(403), status(500), coded("808"), broken(httpx.ReadError)),
        event="message.retried",
    ),
    "uploads are refused": Story(
        lambda w: w.vendor_site.order("upload", coded("809")), Code.PICTURE_TOO_LARGE, event="dead_letter.recorded"
    ),
    "a create is refused": Story(
        lambda w: w.vendor_site.order("/run/", coded("803")), Code.VENDOR_REFUSED, event="dead_letter.recorded"
    ),
    "the vendor is full, and its key flickers": Story(
        lambda w: w.vendor_site.order("/run/", coded("421"), status(403), broken(httpx.ConnectError), coded("801")),
        event="message.snoozed",
    ),
    "a create without an id": Story(
        lambda w: w.vendor_site.order("/run/", status(500)), Code.VENDOR_UNKNOWN, event="paid.unknown"
    ),
    "a query without an answer": Story(
        lambda w: w.vendor_site.order("query", status(401), status(502), *(broken(kind) for kind in TRANSPORT)),
        event="message.snoozed",
    ),
    "a job fails": Story(lambda w: w.vendor_site.order("query", coded("805")), Code.VENDOR_FAILED, event="job.failed"),
    "a job violates": Story(
        lambda w: w.vendor_site.order("query", coded("1501")), Code.CONTENT_VIOLATION, event="job.failed"
    ),
    "eleven of twelve": Story(
        lambda w: w.vendor_site.order("query", *[results(11)] * 50), Code.INCOMPLETE_RESULTS, event="job.failed"
    ),
    "results are gone for a while": Story(
        lambda w: w.file_site.order("", *[status(403)] * 12, *(broken(kind) for kind in TRANSPORT)),
        event="message.retried",
    ),
    "results are gone for ever": Story(
        lambda w: w.file_site.order("", *[status(404)] * 200), Code.VENDOR_FAILED, event="dead_letter.recorded"
    ),
    "results lie elsewhere": Story(
        lambda w: w.vendor_site.order("query", *[results(host="other.example")] * 3),
        Code.VENDOR_FAILED,
        event="dead_letter.recorded",
    ),
    "the backend is away": Story(
        lambda w: w.backend_site.order("", status(500), status(404), *(broken(kind) for kind in TRANSPORT)),
        event="callback.failed",
    ),
    "the backend refuses us": Story(
        lambda w: w.backend_site.order("", status(401), status(403)), event="callback.failed"
    ),
    "the backend knows better": Story(
        lambda w: w.backend_site.order("/callback", status(409)), event="callback.conflict"
    ),
    "the store is away": Story(
        lambda w: w.injector.strike(r"(objects|ledger)\.(process|put_new|get|copy)", *[raises(store_down())] * 6),
        event="message.failed",
    ),
    "a defect of ours for a while": Story(
        lambda w: w.injector.strike(r"objects\.(process|put staging|copy)", *[raises(defect())] * 3),
        event="stage.failed",
    ),
    "a defect of ours for ever": Story(
        lambda w: w.injector.strike(r"objects\.process", *[raises(defect())] * 50),
        Code.INTERNAL,
        event="dead_letter.recorded",
    ),
    "the broker is away": Story(
        lambda w: w.injector.strike(r"broker\.publish (generate|poll|collect)", *[raises(defect())] * 3)
    ),
    "a job without end": Story(
        lambda w: w.vendor_site.order("query", *[coded("804")] * 500), Code.TIMEOUT, event="vendor.cancelled"
    ),
}


def play(story: Callable[[Harness], Awaitable[None]], plants: Plants, reported: Emitted) -> int:
    """Play a story and search everything that it left."""

    async def whole() -> int:
        async with Harness(plants) as harness:
            await story(harness)
            sent = [body for _, body in harness.vendor_site.heard]
            if any(b"webhookUrl" in body for body in sent):
                # The token was on its way, so it could have been repeated.
                assert any(plants.in_(body) >= {"a webhook's token"} for body in sent)
            return plants.assert_none_in([*reported.outputs(), *await harness.outputs_of_all()])

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(whole())


async def buy(harness: Harness, kind: str, body: bytes) -> RunId:
    """Buy a task and upload its picture; then its event comes, with the uploader's Authorization in it."""
    run = harness.sell(kind)
    meta = {"kind": kind, "params": "{}", "ticket": harness.ticket(run, kind)}
    key = await harness.put(run, "original.jpg", body, meta)
    reported = event(key)
    reported["Records"][0]["event"]["requestParameters"]["requestHeaders"] = {
        "Authorization": harness.plants.add("the uploader's Authorization", "q-sign-algorithm=sha1&q-signature=5e7")
    }
    await take_event(reported, harness.out)
    return run


@pytest.mark.parametrize("name", STORIES)
def test_however_a_run_goes_nothing_secret_leaves(name: str, plants: Plants, reported: Emitted) -> None:
    story = STORIES[name]

    async def run_story(harness: Harness) -> None:
        if name != "the store is away":
            story.prepare(harness)
            run = await buy(harness, story.kind, story.body())
        else:
            run = await buy(harness, story.kind, story.body())
            story.prepare(harness)
        await harness.drain(2000)
        verdict = await harness.verdict(run)
        assert (verdict.status, verdict.code) == (("failed", story.code) if story.code else ("success", ""))
        assert "delivered" in await harness.records(run)
        assert story.event in reported.logged

    assert play(run_story, plants, reported) > 5_000


@pytest.mark.parametrize("secret", [Secret("another-secret-that-somebody-else-signs-with"), None])
def test_a_refused_ticket_is_not_told(secret: Secret | None, plants: Plants, reported: Emitted) -> None:
    async def run_story(harness: Harness) -> None:
        run = harness.sell()
        ticket = harness.ticket(run, secret=secret) if secret else harness.ticket(run, task="another")
        key = await harness.put(run, "original.jpg", b"x", {"kind": "basic_clean", "ticket": ticket})
        await harness.deliver(key)
        assert await harness.ledger.verdict(run) is None
        assert "ticket.rejected" in reported.logged

    play(run_story, plants, reported)


def test_a_task_file_with_secrets_in_the_wrong_places_is_not_told(plants: Plants, reported: Emitted) -> None:
    """An uploader puts the ticket in place of a name; the refusal names the place, not its content."""

    async def run_story(harness: Harness) -> None:
        for wrong in ("kind", "inputs", "params", "extra"):
            run = harness.sell()
            ticket = harness.ticket(run)
            order = {"kind": "basic_clean", "inputs": ["a.jpg"], "params": {}, "ticket": ticket}
            order[wrong] = {"inputs": [f"{ticket}.jpg"], "params": {ticket: ticket}}.get(wrong, ticket)
            import msgspec

            await harness.deliver(await harness.put(run, "task.json", msgspec.json.encode(order)))
            assert (await harness.verdict(run)).status == "failed"

    play(run_story, plants, reported)


def test_an_upload_that_breaks_is_raised_and_logged_without_secrets(plants: Plants, reported: Emitted) -> None:
    async def run_story(harness: Harness) -> None:
        harness.injector.strike("objects.head", raises(defect()))
        with pytest.raises(RuntimeError):
            await buy(harness, "basic_clean", b"x")
        assert "upload.failed" in reported.logged

    play(run_story, plants, reported)


def test_a_webhook_is_told_without_its_token(plants: Plants, reported: Emitted) -> None:
    """A true call, a forged one, one that is no JSON, and one that comes while the broker is away."""

    async def run_story(harness: Harness) -> None:
        run = await buy(harness, "model_pose12", pictures.jpeg())
        held = await harness.until("poll")
        path = harness.out.webhooks.url("runninghub", run, 1, 1).partition("harness.example")[2]
        true = {
            "path": path,
            "httpMethod": "POST",
            "headers": {"authorization": SIGNED},
            "body": f'{{"taskId":"{JOB}"}}',
        }
        forged = {**true, "path": path[:-4] + "0000"}
        answers = [await take_call(call, harness.out) for call in (true, forged, {**true, "body": f"{SIGNED} {path}"})]
        assert [answer["statusCode"] for answer in answers] == [200, 403, 400]
        assert not plants.in_(repr(answers))
        await harness.run(*held)
        await harness.drain()
        assert (await harness.verdict(run)).status == "success"
        assert "webhook.rejected" in reported.logged

    play(run_story, plants, reported)


def test_a_cancelled_run_tells_nothing(plants: Plants, reported: Emitted) -> None:
    async def run_story(harness: Harness) -> None:
        harness.vendor_site.order("cancel", status(403), broken(httpx.ReadError))
        run = await buy(harness, "model_pose12", pictures.jpeg())

        async def cancel() -> None:
            from tasks.ending.cancel import cancel_task

            await cancel_task(run, harness.out)

        harness.injector.strike("broker.ack poll", calls(cancel))
        harness.vendor_site.order("query", *[coded("804")] * 3)
        await harness.drain()
        assert (await harness.verdict(run)).status == "cancelled"

    play(run_story, plants, reported)
