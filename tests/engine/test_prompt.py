"""The prompt: by the chat model, the cache or the template; waited for with patience, and never the end of a run."""

from __future__ import annotations

import dataclasses
import io
from typing import Any, Final

import msgspec
import pytest
from PIL import Image

from consumers.engine.retry import MAX_ATTEMPTS
from messages.bodies import Prompt as PromptBody
from messages.bodies import Stage, Wake
from messages.codes import Code
from recipes.model_pose12 import MODEL_POSE12, ModelPose12Params
from recipes.prompt import Prompt, Question
from recipes.recipe import Recipe
from services.errors import AnswerUnfit, AuditDown, ObjectsDown, UploadFailed, VendorDown, VendorFull, VendorRefused
from services.vendors.tokenhub.answers import fitting
from tasks.ledger.records import Accepted, Cleaned
from tests.engine.fault_injector import dies, raises, waits
from tests.engine.harness import Harness

KIND: Final = "model_pose12"
PATIENCE_S: Final = 90.0


def ask(params: Any) -> Question:
    return Question("You write prompts.", f"要求：{params.prompt}")


PROMPT: Final = Prompt(version="1", ask=ask, template=lambda params: f"模板 {params.prompt}", patience_s=PATIENCE_S)


def nothing(_: ModelPose12Params) -> dict[str, str]:
    return {}


PAID: Final = msgspec.structs.replace(MODEL_POSE12, prompt=PROMPT, values=nothing)
"""The text goes to the vendor."""
TEXT: Final = Recipe(
    kind=KIND, params=ModelPose12Params, deadline_s=1800, clean=MODEL_POSE12.clean, prompt=PROMPT, count=1
)
"""The text is the result."""
SLOTS: Final = msgspec.structs.replace(PAID, count=1, slots=lambda _: 3)


def opened(recipe: Recipe) -> Harness:
    return Harness(recipes={KIND: recipe})


@pytest.fixture
def harness() -> Harness:
    return opened(PAID)


def another_photo() -> bytes:
    saved = io.BytesIO()
    Image.new("RGB", (20, 30), "red").save(saved, "JPEG")
    return saved.getvalue()


async def prompted(harness: Harness, run: Any) -> dict[str, Any]:
    return dict((await harness.records(run))["prompted"])


async def test_the_model_is_asked_with_the_cleaned_pictures_and_the_vendor_gets_its_text(harness: Harness) -> None:
    run = await harness.order(params={"prompt": "海滩"})
    await harness.drain()
    verdict = await harness.promise(run, "success")
    (asked,) = harness.chat.asked
    assert asked.system == "You write prompts."
    assert asked.text == "要求：海滩"
    (url,) = asked.images
    assert await harness.data.visit(url)
    assert await prompted(harness, run) == {
        "text": "提示词1",
        "source": "model",
        "usage": {"tokens_in": 100, "tokens_out": 20},
    }
    assert [request.values for request in harness.vendor.requests] == [{"prompt": "提示词1"}]
    assert verdict.degraded == ()
    assert [header.stage for header in map(_of, harness.wire.sent)][:3] == ["clean", "prompt", "generate"]


def _of(sent: Any) -> Any:
    return sent.header


async def test_each_slot_gets_the_same_text() -> None:
    async with opened(SLOTS) as harness:
        run = await harness.order()
        await harness.drain()
        await harness.promise(run, "success")
        assert [request.values for request in harness.vendor.requests] == [{"prompt": "提示词1"}] * 3
        assert len(harness.chat.asked) == 1


async def test_a_text_is_a_result() -> None:
    async with opened(TEXT) as harness:
        run = await harness.order()
        await harness.drain()
        verdict = await harness.promise(run, "success")
        assert (verdict.text, verdict.degraded, verdict.manifest) == ("提示词1", (), ())
        (callback,) = harness.backend.heard
        assert (callback.outputs, callback.text, callback.degraded) == ((), "提示词1", ())
        assert harness.vendor.paid == []


async def test_a_template_as_the_result_says_so() -> None:
    async with opened(TEXT) as harness:
        harness.chat.down = True
        run = await harness.order(params={"prompt": "海滩"})
        await harness.drain()
        verdict = await harness.promise(run, "success")
        assert (verdict.text, verdict.degraded) == ("模板 海滩", ("prompt_template",))
        (callback,) = harness.backend.heard
        assert (callback.text, callback.degraded) == ("模板 海滩", ("prompt_template",))


# The cache


async def test_an_equal_task_takes_the_text_from_the_cache(harness: Harness) -> None:
    for user in ("u1", "u2"):
        run = await harness.order(params={"prompt": "海滩"}, user=user)
        await harness.drain()
        await harness.promise(run, "success")
    assert len(harness.chat.asked) == 1
    assert (await prompted(harness, run))["source"] == "cache"
    assert [request.values["prompt"] for request in harness.vendor.requests] == ["提示词1"] * 2


@pytest.mark.parametrize("change", ["parameters", "picture", "model", "version", "question"])
async def test_another_question_is_no_hit(change: str, harness: Harness) -> None:
    await harness.order(params={"prompt": "海滩"})
    await harness.drain()
    if change == "model":
        harness.chat.model = "hy5"
    if change in {"version", "question"}:
        other = {"version": "2"} if change == "version" else {"ask": lambda params: Question("Else.", params.prompt)}
        newer = msgspec.structs.replace(PROMPT, **other)
        harness.recipes = harness.recipes | {KIND: msgspec.structs.replace(PAID, prompt=newer)}
        harness.out = dataclasses.replace(harness.out, recipes=harness.recipes)
        harness.engine = harness.new_engine()
    params = {"prompt": "雪山" if change == "parameters" else "海滩"}
    body = another_photo() if change == "picture" else None
    run = await harness.upload(params=params, body=body)
    await harness.take_in(run)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.chat.asked) == 2


async def test_a_replay_asks_again_and_its_text_is_kept_instead(harness: Harness) -> None:
    run = await harness.order(params={"prompt": "海滩"})
    await harness.drain()
    accepted = await harness.ledger.accepted(run)
    cleaned = await harness.ledger.read(run, Cleaned.at())
    assert accepted is not None
    assert cleaned is not None
    replay = msgspec.structs.replace(run, run=1)
    deadline = harness.now() + 1000.0
    await harness.ledger.write(replay, Accepted.at(), msgspec.structs.replace(accepted, deadline=deadline))
    await harness.ledger.write(replay, Cleaned.at(), cleaned.record)
    await harness.say(replay, Stage.PROMPT, PromptBody())
    await harness.run(*await harness.until("prompt"))
    assert (await prompted(harness, replay))["text"] == "提示词2"
    (item,) = (await harness.ledger.objects.list("cache/prompt/")).items
    kept = await harness.ledger.objects.get(item.key)
    entry = msgspec.json.decode(kept.body)
    assert (entry["text"], entry["model"]) == ("提示词2", "hy4")


async def test_neither_template_nor_blocked_text_is_kept(harness: Harness) -> None:
    harness.chat.script.extend([VendorRefused("no"), "a violation"])
    run = await harness.order(params={"prompt": "1"})
    await harness.drain()
    await harness.promise(run, "success")
    run = await harness.order(params={"prompt": "2"})
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert (await harness.ledger.objects.list("cache/")).items == ()
    assert "prompted" not in await harness.records(run)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\xfe", b'{"text": 5, "model": ""}', b"[" * 100_000])
async def test_an_entry_that_cannot_be_read_is_asked_for_anew(body: bytes, harness: Harness) -> None:
    await harness.order()
    await harness.drain()
    (item,) = (await harness.ledger.objects.list("cache/prompt/")).items
    await harness.ledger.objects.put(item.key, body)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert (await prompted(harness, run))["text"] == "提示词2"


async def test_a_cache_that_cannot_be_written_costs_nothing(harness: Harness) -> None:
    harness.injector.strike(r"ledger\.put cache/", *[raises(ObjectsDown("503"))] * 20)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")


# Patience


async def test_an_outage_is_waited_for_and_then_the_template_is_taken(harness: Harness) -> None:
    harness.chat.down = True
    run = await harness.order(params={"prompt": "海滩"})
    begun = harness.now()
    delivery, consumer = await harness.until("generate")
    assert PATIENCE_S <= harness.now() - begun < PATIENCE_S * 1.5
    await consumer.release(delivery)
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.degraded == ("prompt_template",)
    assert await prompted(harness, run) | {"usage": None} == {
        "text": "模板 海滩",
        "source": "template",
        "usage": None,
    }
    assert 3 <= len(harness.chat.asked) <= 6
    assert {header.attempt for header in harness.sent("prompt")} == {0}
    assert harness.pauses.resting() == {}, "tasks that need no model go on"


async def test_an_outage_that_ends_in_time_costs_nothing(harness: Harness) -> None:
    harness.chat.script.extend([VendorDown("503"), VendorFull("429", retry_after=20.0)])
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.degraded == ()
    waits_ = [header.not_before / 1000 for header in harness.sent("prompt")]
    assert 15 <= waits_[1] <= 25
    assert 20 <= waits_[2] <= 35


async def test_a_retry_after_of_an_hour_is_cut_to_the_patience(harness: Harness) -> None:
    harness.chat.script.extend([VendorFull("429", retry_after=3600.0)] * 2)
    run = await harness.order()
    begun = harness.now()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.degraded == ("prompt_template",)
    assert harness.now() - begun < 600


async def test_a_model_that_this_machine_does_not_have_is_an_outage(harness: Harness) -> None:
    harness.chats.clear()
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.degraded == ("prompt_template",)


@pytest.mark.parametrize(
    "error", [VendorRefused("no"), VendorRefused("no", code=Code.CONTENT_VIOLATION), AnswerUnfit("prose")]
)
async def test_a_refusal_takes_the_template_at_once(error: Exception, harness: Harness) -> None:
    harness.chat.script.append(error)
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.degraded == ("prompt_template",)
    assert len(harness.chat.asked) == 1
    assert len(harness.sent("prompt")) == 1


@pytest.mark.parametrize("text", ["", " ", "\\n\\t", "\u3000", "x" * 2001])
async def test_an_answer_without_words_does_not_fit(text: str, harness: Harness) -> None:
    await harness.order()
    await harness.drain()
    (asked,) = harness.chat.asked
    with pytest.raises(AnswerUnfit):
        fitting(f'{{"prompt": "{text}"}}', asked.answer)
    assert fitting('{"prompt": " \u732b "}', asked.answer).prompt == " \u732b "


async def test_more_pictures_or_larger_ones_than_the_model_takes_take_the_template(harness: Harness) -> None:
    harness.chat.image_limit = 10  # type: ignore[misc] # of this one alone
    run = await harness.order()
    await harness.drain()
    assert (await harness.promise(run, "success")).degraded == ("prompt_template",)
    assert harness.chat.asked == []


# Attempts and crashes


@pytest.mark.parametrize("error", [UploadFailed("odd"), KeyError("a defect")])
async def test_attempts_that_are_spent_take_the_template(error: Exception, harness: Harness) -> None:
    harness.chat.script.extend([error] * 20)
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.degraded == ("prompt_template",)
    assert len(harness.chat.asked) == MAX_ATTEMPTS
    assert await harness.dead_letters() == []


async def test_a_question_that_kills_its_process_every_time_takes_the_template(harness: Harness) -> None:
    harness.injector.strike(r"chat\.ask", *[dies()] * 20)
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.degraded == ("prompt_template",)
    assert len(harness.chat.asked) == MAX_ATTEMPTS
    assert await harness.dead_letters() == []


async def test_a_template_that_cannot_be_made_ends_at_the_deadline_and_never_as_a_dead_letter() -> None:
    def broken(_: Any) -> str:
        raise ValueError("a defect of the recipe")

    recipe = msgspec.structs.replace(PAID, prompt=msgspec.structs.replace(PROMPT, template=broken))
    async with opened(recipe) as harness:
        harness.chat.script.extend([VendorRefused("no")] * 100)
        run = await harness.order()
        await harness.drain(1000)
        await harness.promise(run, "failed", Code.TIMEOUT)
        assert await harness.dead_letters() == []
        assert harness.vendor.paid == []


@pytest.mark.parametrize("when", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", [r"chat\.ask", r"ledger\.put_new .*/prompted", r"ledger\.put cache/"])
async def test_a_process_that_dies_costs_nothing(place: str, harness: Harness, *, when: bool) -> None:
    harness.injector.strike(place, dies(), done=when)
    run = await harness.order()
    await harness.drain()
    verdict = await harness.promise(run, "success")
    assert verdict.degraded == ()
    assert len(harness.vendor.paid) == 1
    (stored,) = {request.values["prompt"] for request in harness.vendor.requests}
    assert (await prompted(harness, run))["text"] == stored


async def test_a_hang_ends_with_the_limit_of_the_question(harness: Harness) -> None:
    harness.injector.strike(r"chat\.ask", waits(1000.0))
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")


# Audits


async def test_a_text_that_the_audit_blocks_fails_the_task_before_anything_is_paid(harness: Harness) -> None:
    harness.chat.script.append("a violation")
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert harness.vendor.paid == []


async def test_a_template_is_audited_too(harness: Harness) -> None:
    harness.chat.script.append(VendorRefused("no"))
    run = await harness.order(params={"prompt": "violation"})
    await harness.drain()
    await harness.promise(run, "failed", Code.CONTENT_VIOLATION)
    assert harness.vendor.paid == []


async def test_an_audit_that_is_down_is_waited_for_and_never_a_pass(harness: Harness) -> None:
    harness.injector.strike(r"objects\.audit_text", *[raises(AuditDown("503"))] * 10)
    run = await harness.order()
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.left == 0
    assert await harness.dead_letters() == []


# Lost messages


async def test_a_prompt_whose_message_is_lost_is_written_after_a_wake(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("prompt")
    await consumer.ack(delivery)
    await harness.say(run, Stage.WAKE, Wake("sweep"))
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.chat.asked) == 1


async def test_a_second_message_finds_the_text_and_pays_nothing(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("generate")
    await harness.say(run, Stage.PROMPT, PromptBody(), seq=5)
    await consumer.release(delivery)
    await harness.drain()
    await harness.promise(run, "success")
    assert len(harness.chat.asked) == 1
    assert len(harness.vendor.paid) == 1


async def test_a_message_before_its_inputs_are_clean_does_nothing(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await harness.until("clean")
    await harness.say(run, Stage.PROMPT, PromptBody(), seq=5)
    held = await harness.until("prompt")
    await harness.run(*held)
    assert harness.chat.asked == []
    await consumer.release(delivery)
    await harness.drain()
    await harness.promise(run, "success")
