"""A chat model that is down is tried with one question at a time, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from services.errors import VendorDown, VendorFull, VendorRefused
from services.vendors.chat import ChatModel, ChatRequest
from services.vendors.guarded import DOWN_S, FULL_S, LONGEST_S, GuardedChat
from tests.engine.chat import ScriptedChat
from tests.engine.fault_injector import FaultInjector, waits
from tests.engine.virtual import VirtualLoop


class Words(msgspec.Struct):
    prompt: str


QUESTION = ChatRequest("system", "text", Words)


def play(act: Callable[[ScriptedChat, ChatModel], Awaitable[None]]) -> None:
    async def run() -> None:
        chat = ScriptedChat(FaultInjector())
        await act(chat, GuardedChat(chat))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


async def ask(model: ChatModel) -> str:
    """Result of a question."""
    try:
        return (await model.ask(QUESTION, timeout=60.0)).value.prompt
    except (VendorDown, VendorFull, VendorRefused) as error:
        return type(error).__name__


def test_while_all_is_well_questions_are_asked_beside_each_other() -> None:
    async def act(chat: ScriptedChat, model: ChatModel) -> None:
        said = await asyncio.gather(*(ask(model) for _ in range(5)))
        assert set(said) <= {f"提示词{n}" for n in range(1, 6)}
        assert len(chat.asked) == 5
        assert (model.name, model.label, model.model) == ("tokenhub", "main", "hy4")
        assert (model.most_images, model.image_limit) == (20, 10 << 20)
        await model.check()
        await model.close()

    play(act)


def test_after_an_outage_it_is_left_alone_and_then_tried_by_one() -> None:
    async def act(chat: ScriptedChat, model: ChatModel) -> None:
        chat.down = True
        assert await ask(model) == "VendorDown"
        assert [await ask(model) for _ in range(5)] == ["VendorDown"] * 5
        assert len(chat.asked) == 1
        await asyncio.sleep(DOWN_S)
        await asyncio.gather(*(ask(model) for _ in range(5)))
        assert len(chat.asked) == 2
        chat.down = False
        await asyncio.sleep(DOWN_S)
        assert (await ask(model)).startswith("提示词")
        assert (await ask(model)).startswith("提示词")

    play(act)


def test_a_model_that_hangs_holds_one_question() -> None:
    async def act(chat: ScriptedChat, model: ChatModel) -> None:
        chat.down = True
        await ask(model)
        await asyncio.sleep(DOWN_S)
        chat.injector.strike(r"chat\.ask", waits(1000.0))
        hanging = asyncio.create_task(ask(model))
        await asyncio.sleep(1.0)
        begun = asyncio.get_running_loop().time()
        assert [await ask(model) for _ in range(20)] == ["VendorDown"] * 20
        assert asyncio.get_running_loop().time() == begun
        assert await hanging == "VendorDown"
        assert len(chat.asked) == 2

    play(act)


def test_a_question_that_is_cancelled_lets_another_try() -> None:
    async def act(chat: ScriptedChat, model: ChatModel) -> None:
        chat.down = True
        await ask(model)
        chat.down = False
        await asyncio.sleep(DOWN_S)
        chat.injector.strike(r"chat\.ask", waits(1000.0))
        hanging = asyncio.create_task(ask(model))
        await asyncio.sleep(1.0)
        hanging.cancel()
        await asyncio.wait([hanging])
        assert (await ask(model)).startswith("提示词")

    play(act)


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (VendorFull("429"), FULL_S),
        (VendorFull("429", retry_after=7.0), 7.0),
        (VendorDown("503", retry_after=9.0), 9.0),
        (VendorDown("503", retry_after=3600.0), LONGEST_S),
    ],
)
def test_the_vendors_own_time_counts(error: Exception, pause: float) -> None:
    async def act(chat: ScriptedChat, model: ChatModel) -> None:
        chat.script.append(error)
        await ask(model)
        await asyncio.sleep(pause * 0.9)
        assert await ask(model) == "VendorDown"
        await asyncio.sleep(pause * 0.2)
        assert (await ask(model)).startswith("提示词")

    play(act)


def test_a_refusal_is_an_answer() -> None:
    async def act(chat: ScriptedChat, model: ChatModel) -> None:
        chat.script.extend([VendorDown("503"), VendorRefused("no")])
        await ask(model)
        await asyncio.sleep(DOWN_S)
        assert await ask(model) == "VendorRefused"
        assert (await ask(model)).startswith("提示词")

    play(act)
